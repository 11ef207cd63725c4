"""Named benchmarks: data, tasks and protocol as YAML, run by `foundation finetune`, shown on one page."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from finetune.benchmark.benchmark_page import benchmarks_page
    from finetune.benchmark.benchmark_runs import run_benchmarks
    from finetune.benchmark.benchmark_settings import Benchmark, BenchmarkSettings, benchmark_names, read_benchmark

__all__ = [
    "Benchmark",
    "BenchmarkSettings",
    "benchmark_names",
    "benchmarks_page",
    "read_benchmark",
    "run_benchmarks",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "finetune.benchmark.benchmark_settings": [
            "Benchmark",
            "BenchmarkSettings",
            "benchmark_names",
            "read_benchmark",
        ],
        "finetune.benchmark.benchmark_page": ["benchmarks_page"],
        "finetune.benchmark.benchmark_runs": ["run_benchmarks"],
    },
)
