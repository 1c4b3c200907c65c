"""The benchmarks: one module each, with a `SECTION`; `favae.bench.section.sections` finds them."""
