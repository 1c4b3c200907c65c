"""The page in headless Chromium: it asks nobody, and every control does what it says."""

from typing import Any

import pytest

NUMBER = 'button.number[data-number="reconstruction/fa-vae-f-4/psnr_test"]'


def test_it_opens_from_disk_without_error_and_without_a_request_to_anywhere(page: Any) -> None:
    page.open().scrolled()
    asked = page.requests()
    assert len(asked) > 10
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "about", "blob"}
    assert page.errors() == []
    assert page.run("return [...document.images].filter((i) => i.complete && !i.naturalWidth).length") == 0


def test_a_number_opens_its_chain_and_has_a_link(page: Any) -> None:
    page.open()
    page.click(NUMBER)
    text = page.run("return document.getElementById('chain').innerText")
    assert "PSNR of FA-VAE, f = 4" in text
    assert (
        "snakemake --config scale=tiny -- data/tiny/evaluate_reconstruction/natural-f4-favae-on-natural/card.json"
        in text
    )
    assert "favae audit --scale tiny reconstruction/natural-f4-favae-on-natural/psnr_test" in text
    assert "git checkout c0ffee" in text and "2.0 minutes" in text
    for step in ("train_autoencoder/natural-f4-favae", "prepare_dataset/natural"):
        assert step in text
    assert "model.fcm" in text  # sets it apart from the baseline
    fragment = page.run("return location.hash")
    page.keys("\ue00c")  # Escape
    assert not page.run("return document.getElementById('chain').open")
    page.open(fragment=fragment)
    assert "PSNR of FA-VAE, f = 4" in page.run("return document.querySelector('dialog[open]').innerText")


def test_tables_sort_by_value_in_both_directions(page: Any) -> None:
    page.open()
    values = (
        "return [...document.querySelectorAll('#reconstruction tbody tr')].map((r) => Number(r.cells[1].dataset.value))"
    )
    before = page.run(values)
    page.click("#reconstruction .sort[data-column='1']")
    assert page.run(values) == sorted(before)
    assert page.run("return document.querySelector('#reconstruction th[aria-sort=ascending]').innerText").startswith(
        "PSNR"
    )
    page.click("#reconstruction .sort[data-column='1']")
    assert page.run(values) == sorted(before, reverse=True)


def test_the_slider_moves_with_the_keyboard_and_the_mouse(page: Any) -> None:
    from selenium.webdriver import ActionChains

    page.open().scrolled()
    page.run("document.querySelector('.compare').scrollIntoView({block: 'center', behavior: 'instant'})")
    slider = page.driver.find_element("css selector", ".compare")
    where = "return document.querySelector('.compare').value"
    assert page.run(where) == 50
    page.run("arguments[0].focus()", slider)
    ActionChains(page.driver).key_down("\ue014").pause(0.3).key_up("\ue014").perform()
    page.wait("return document.querySelector('.compare').value !== 50")
    width = slider.size["width"]
    ActionChains(page.driver).move_to_element(slider).click_and_hold().move_by_offset(
        -width // 4, 0
    ).release().perform()
    page.wait("return Math.abs(document.querySelector('.compare').value - 25) < 5")
    assert abs(int(slider.get_attribute("aria-valuenow")) - 25) < 5


def choose(page: Any, label: str, value: str) -> None:
    page.run(
        "const s = [...document.querySelectorAll('#gallery .choice')].find((c) => c.firstChild.textContent === arguments[0])"
        ".querySelector('select'); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        label,
        value,
    )


def test_the_gallery_sorts_by_any_metric_and_by_the_difference_of_two_models(page: Any) -> None:
    page.open().scrolled()
    names = "return [...document.querySelectorAll('.shots .open')].map((b) => b.innerText)"
    group = page.run("return favae.gallery[0]")
    models = [column["id"] for column in group["columns"] if not column["original"]]
    choose(page, "Right", models[0])
    choose(page, "Sort by", "ssim")
    value = {item["id"]: item["values"][models[0]]["ssim"] for item in group["items"]}
    assert page.run(names) == sorted(value, key=value.__getitem__)
    choose(page, "Order", "best")
    assert page.run(names) == sorted(value, key=value.__getitem__, reverse=True)
    choose(page, "Left", models[1])
    choose(page, "Order", "apart")
    apart = {
        item["id"]: abs(item["values"][models[0]]["ssim"] - item["values"][models[1]]["ssim"])
        for item in group["items"]
    }
    assert page.run(names) == sorted(apart, key=apart.__getitem__, reverse=True)


def test_all_views_of_an_image_zoom_together(page: Any) -> None:
    page.open().scrolled()
    page.click(".shots .open")
    page.click("#zoom [aria-label='Zoom in']")
    moved = page.run("return [...new Set([...document.querySelectorAll('.pane img')].map((i) => i.style.transform))]")
    assert moved == ["translate(0%, 0%) scale(1.5)"]
    kinds = page.run("return [...document.querySelectorAll('.views tbody th')].map((t) => t.innerText)")
    assert kinds == ["Image", "Difference", "Log-power spectrum"]
    assert page.run("return document.querySelectorAll('#zoom canvas').length") > 0  # the radial spectrum
    assert page.errors() == []


def test_curves_show_losses_and_sigma(page: Any) -> None:
    page.open().scrolled()
    options = page.run("return [...document.querySelectorAll('#curves select option')].map((o) => o.value)")
    assert {"l1", "sigma", "image_ffl"} <= set(options)
    page.run(
        "const s = document.querySelector('#curves select'); s.value = 'sigma'; s.dispatchEvent(new Event('change'))"
    )
    legend = page.run("return document.querySelector('#curves .u-legend').innerText")
    assert "FA-VAE, f = 4: sigma taps 0" in legend and "VQ-GAN" not in legend
    assert page.errors() == []


def test_the_gallery_of_a_number_is_one_press_away(page: Any) -> None:
    page.open()
    page.click(NUMBER)
    page.run("[...document.querySelectorAll('#chain button')].find((b) => b.innerText === 'See its images').click()")
    page.wait("return document.querySelectorAll('.shot').length > 0")
    assert "FA-VAE, f = 4" in page.run("return document.querySelector('.galleryfoot').innerText")


def test_the_switch_of_colours_is_remembered(page: Any) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.open().run(ground)
    dark = page.open(theme="dark").run(ground)
    assert light != dark
    page.click("#theme")
    assert page.run(ground) == light
    assert page.run("return localStorage.getItem('favae-theme')") == "light"
    # That storage outlives the process of a page is Chromium's work, done in its own time: here it is written again.
    store = {"source": "localStorage.setItem('favae-theme', 'light')"}
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", store)
    assert page.open(theme="dark").run(ground) == light
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    page.run("localStorage.clear()")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_in_both_widths_and_colours(page: Any, width: int, theme: str) -> None:
    page.open(width, theme).scrolled()
    inner = page.run("return document.documentElement.clientWidth")  # beside the scroll bar
    assert page.run("return document.documentElement.scrollWidth") <= inner <= width
    assert page.violations() == []
    page.click(NUMBER)
    assert page.violations() == []
    page.keys("\ue00c")
    page.click(".shots .open")
    assert page.violations() == []
