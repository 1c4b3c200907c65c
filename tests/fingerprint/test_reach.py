"""Which units a function can reach: all that could be used, and no more where that is decidable."""

import textwrap
from collections.abc import Collection

from favae.fingerprint.modules import Package
from favae.fingerprint.reach import Reach


def reached(files: dict[str, str], words: Collection[str] = (), given: Collection[str] = ()) -> set[str]:
    texts = {"__init__.py": ""} | {name: textwrap.dedent(text) for name, text in files.items()}
    units = Reach(Package.of_texts(texts), ["favae.stage:run"], words, given).units
    return {unit.removeprefix("favae.") for unit in units}


def test_helpers_constants_decorators_defaults_and_bases_are_reached() -> None:
    found = reached(
        {
            "stage.py": """
                from favae import tools
                from favae.tools import Child

                def run(job, size=tools.SIZE):
                    def inner():
                        return Child()
                    return inner()

                def unused():
                    return tools.never()
                """,
            "tools.py": """
                SIZE = 3
                TABLE = [1]

                def never(): ...
                def cached(function): return function
                def helper(): return TABLE

                class Base:
                    @cached
                    def __init__(self): helper()

                class Child(Base): ...
                """,
        }
    )
    expected = {"SIZE", "TABLE", "Child", "Base", "Base.__init__", "cached", "helper"}
    assert found == {"stage:run", *(f"tools:{name}" for name in expected)}


def test_imports_inside_functions_and_statements_of_a_module_are_reached() -> None:
    found = reached(
        {
            "stage.py": """
                def run(job):
                    from favae.tools import work as do
                    return do()
                """,
            "tools.py": """
                import torch
                torch.set_flush_denormal(True)

                def work(): ...
                """,
        }
    )
    assert found == {"stage:run", "tools:work", "tools:<module>"}


TERMS = {
    "stage.py": """
        from favae.terms import BUILDERS, ffl

        def run(job):
            kind = job.config.kind
            if kind == "ffl":
                print("a comparison makes no string")
            return BUILDERS[kind]()
        """,
    "terms.py": """
        def ffl(): ...
        def mse(): ...

        BUILDERS = {"ffl": lambda: ffl(), "mse": lambda: mse()}
        """,
}


def test_of_a_table_of_kinds_only_those_that_the_parameters_name_are_reached() -> None:
    assert reached(TERMS, ["mse"]) == {"stage:run", "terms:BUILDERS", "terms:mse"}
    assert reached(TERMS, ["ffl"]) == {"stage:run", "terms:BUILDERS", "terms:ffl"}


def test_a_kind_that_the_code_itself_names_is_reached() -> None:
    files = TERMS | {"stage.py": "from favae.terms import BUILDERS\ndef run(job): return BUILDERS[job or 'ffl']()"}
    assert "terms:ffl" in reached(files, ["mse"])


def test_a_table_that_is_gone_through_is_reached_whole() -> None:
    stage = "from favae.terms import BUILDERS\ndef run(job): return [build() for build in BUILDERS.values()]"
    assert {"terms:ffl", "terms:mse"} <= reached(TERMS | {"stage.py": stage})


def test_a_branch_for_other_parameters_is_not_reached_and_the_rest_of_the_function_neither() -> None:
    files = {
        "stage.py": """
            from favae.config import A, B
            from favae.tools import for_a, for_b

            def run(job):
                return task(job.config)

            def task(config: A | B):
                if isinstance(config, A):
                    return for_a()
                return for_b()
            """,
        "config.py": "from pydantic import BaseModel\nclass A(BaseModel): ...\nclass B(BaseModel): ...",
        "tools.py": "def for_a(): ...\ndef for_b(): ...",
    }
    tools = {"tools:for_a", "tools:for_b"}
    assert reached(files, given=["favae.config:A"]) & tools == {"tools:for_a"}
    assert reached(files, given=["favae.config:B"]) & tools == {"tools:for_b"}
    assert reached(files) & tools == tools


def test_methods_of_plain_classes_are_reached_by_name_and_those_of_modules_always() -> None:
    files = {
        "stage.py": """
            from favae.tools import Inputs, Net

            def run(job):
                return Net()(Inputs().split)
            """,
        "tools.py": """
            from torch import nn

            def tokens(): ...

            class Inputs:
                @property
                def split(self): ...
                def tokens(self): return tokens()

            class Net(nn.Module):
                def forward(self, x): ...
            """,
    }
    found = reached(files)
    assert {"tools:Inputs.split", "tools:Net.forward"} <= found
    assert not {"tools:Inputs.tokens", "tools:tokens"} & found


def test_what_is_imported_by_a_name_in_a_text_is_reached() -> None:
    files = {
        "stage.py": """
            from favae.config import Config

            def run(job):
                return import_by_name(Config.task)
            """,
        "config.py": 'class Config:\n    task = "favae.tools:Task"',
        "tools.py": "def helper(): ...\nclass Task:\n    def __init__(self): helper()",
    }
    assert {"tools:Task", "tools:helper"} <= reached(files)


def test_a_class_that_is_found_in_a_folder_by_its_kind_is_reached_if_the_parameters_name_it() -> None:
    files = {
        "stage.py": "from favae.losses.terms import build\ndef run(job): return build(job.kind)",
        "losses/__init__.py": "",
        "losses/terms.py": """
            import pkgutil

            def classes():
                return [module for module in pkgutil.iter_modules(["losses"])]

            def build(kind):
                return classes()[kind]
            """,
        "losses/stft.py": 'class STFT:\n    kind = "stft"\n    def __init__(self): ...',
    }
    assert {"losses.stft:STFT", "losses.stft:STFT.__init__"} <= reached(files, ["stft"])
    assert "losses.stft:STFT" not in reached(files, ["mse"])
