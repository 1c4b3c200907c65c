"""The benchmarks: one module per benchmark, with a `SECTION`; `favae.bench.section.sections` finds them."""
