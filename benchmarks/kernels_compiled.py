"""Figures of the compiled kernels, without a GPU: registers, spills, the width of loads, bytes moved.

    python -m benchmarks.kernels_compiled            # write benchmarks/results/kernels-compiled.{json,md}
    python -m benchmarks.kernels_compiled --every 9  # compile one case in nine and check it, write nothing
    python -m benchmarks.kernels_compiled --check    # check the written table, compile nothing

Every case is compiled for five architectures with the signature of a call. Its traffic is counted in Triton's
interpreter, in a separate process, and compared with the floor: each input read once, each output written once.
The exit status is 1 if a figure breaks a rule of `broken_rules`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.kernel_figures import loads_of, of_amd, of_nvidia

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SOURCES = ROOT / "kernels" / "gan_zoo_kernels"
TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "sm_120": ("cuda", 120, 32),
    "gfx942": ("hip", "gfx942", 64),
}


def sources_digest() -> str:
    """A digest of everything that affects the figures, which detects a stale table without compiling."""
    digest = hashlib.sha256()
    others = [SOURCES / "layout.py", SOURCES / "reference.py", ROOT / "benchmarks" / "kernel_cases.py"]
    for path in (*sorted((SOURCES / "fused").glob("*.py")), *others):
        if path.name not in ("operators.py", "__init__.py"):
            digest.update(_code_of(path).encode())
    return digest.hexdigest()


def _code_of(path: Path) -> str:
    """The file's code without its comments, docstrings and layout."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return ast.unparse(tree)


_figures: dict[Any, dict[str, Any]] = {}  # by compiled kernel, which Triton caches


class _Driver:
    """Replaces Triton's driver: defines the target, but cannot launch."""

    def __init__(self, index: int, target: Any) -> None:
        self.index, self.target = index, target

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return self.index

    def get_current_stream(self, _: int) -> int:
        return 0


def compile_case(case: Any, target: str) -> list[dict[str, Any]]:
    """Figures of each launch of the case, compiled for `target`."""
    import triton
    from gan_zoo_kernels.fused.launches import planned_launches
    from triton.backends.compiler import GPUTarget

    backend, architecture, warp_size = TARGETS[target]
    with planned_launches(warp_size) as launches:
        case.run()
    index = list(TARGETS).index(target)
    triton.runtime.driver.set_active(_Driver(index, GPUTarget(backend, architecture, warp_size)))
    lines = []
    for launch in launches:
        with _captured_output() as output:
            compiled = launch.kernel.warmup(*launch.arguments, grid=(launch.programs,), **launch.options)
        name = launch.kernel.__name__.removesuffix("_kernel")
        if compiled not in _figures:
            _figures[compiled] = of_nvidia(compiled, output.getvalue()) if backend == "cuda" else of_amd(compiled)
            pointers = [n for n, t in zip(launch.kernel.arg_names, launch.arguments, strict=False) if _is_tensor(t)]
            _figures[compiled]["loads"] = loads_of(compiled.asm["llir"], pointers)
        elif name != case.kernel:
            continue  # the second launch of a reduction is the same for many cases
        lines.append(
            {
                "kernel": name,
                "shape": case.shape,
                "dtype": case.dtype,
                "target": target,
                "warps": launch.options["num_warps"],
                **_figures[compiled],
                "expected_loads": case.loads if name == case.kernel else {},
                "most_registers": case.most_registers,
                "allowed_stack": case.stack if name == case.kernel and backend == "cuda" else 0,
            }
        )
    return lines


def _is_tensor(argument: Any) -> bool:
    return hasattr(argument, "data_ptr")


@contextlib.contextmanager
def _captured_output() -> Any:
    """Capture the assembler's output, which is printed from Python."""
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text


def compile_all(every: int, targets: list[str]) -> list[dict[str, Any]]:
    """Lines for one case in `every` and each target; a launch that several cases share has one line."""
    import triton

    from benchmarks.kernel_cases import selection

    triton.knobs.nvidia.dump_ptxas_log = True
    triton.knobs.compilation.always_compile = True
    lines = []
    for case in selection(every):
        for target in targets:
            lines += compile_case(case, target)
    return lines


def count_traffic(every: int) -> list[dict[str, Any]]:
    """Bytes moved by each case, counted in the interpreter, and the floor; requires TRITON_INTERPRET=1."""
    from benchmarks.kernel_cases import selection
    from benchmarks.kernel_traffic import recorded_traffic

    lines = []
    for case in selection(every):
        with recorded_traffic() as traffic:
            case.run()
        lines.append(
            {
                "kernel": case.kernel,
                "shape": case.shape,
                "dtype": case.dtype,
                "moved_bytes": traffic.bytes_loaded + traffic.bytes_stored,
                "floor_bytes": case.floor,
                "most_traffic": case.most_traffic,
            }
        )
    return lines


def broken_rules(compiled: list[dict[str, Any]], traffic: list[dict[str, Any]]) -> list[str]:
    """The rules that the figures break, a sentence each."""
    wrong = []
    for line in compiled:
        name = f"{line['kernel']} {line['shape']} {line['dtype']} on {line['target']}"
        if line["spilled_bytes"]:
            wrong.append(f"{name} spills {line['spilled_bytes']} bytes")
        if line["registers"] > line["most_registers"]:
            wrong.append(f"{name} takes {line['registers']} registers, more than {line['most_registers']}")
        if line["kernel"] == "sample_latents" and line["fused_float32"]:
            wrong.append(f"{name} rounds {line['fused_float32']} products once: not the reference's bits")
        if line["stack_bytes"] > line["allowed_stack"]:
            wrong.append(f"{name} has a stack of {line['stack_bytes']} bytes, not {line['allowed_stack']}")
        for argument, could in line["expected_loads"].items():
            if line["loads"][argument] < could:
                wrong.append(f"{name} loads {line['loads'][argument]} bytes of {argument} at a time and could {could}")
    for line in traffic:
        if line["moved_bytes"] > line["most_traffic"] * line["floor_bytes"]:
            name = f"{line['kernel']} {line['shape']} {line['dtype']}"
            wrong.append(f"{name} moves {line['moved_bytes']} bytes, the floor is {line['floor_bytes']}")
    return wrong


def check_written() -> list[str]:
    """The errors of the table in benchmarks/results, checked without Triton."""
    path = RESULTS / "kernels-compiled.json"
    table = json.loads(path.read_text())
    wrong = broken_rules(table["compiled"], table["traffic"])
    missing = set(TARGETS) - {line["target"] for line in table["compiled"]}
    if missing:
        wrong.append(f"the table lacks {', '.join(sorted(missing))}")
    if table["sources"] != sources_digest():
        wrong.append("the table is of other sources: run python -m benchmarks.kernels_compiled")
    if (RESULTS / "kernels-compiled.md").read_text() != markdown(table):
        wrong.append("kernels-compiled.md is not made from kernels-compiled.json")
    return wrong


def markdown(table: dict[str, Any]) -> str:
    """The table in Markdown: a line per kernel and shape, the worst over dtypes and targets."""
    registers = [f"registers {target}" for target in TARGETS]
    heads = ["kernel", "shape", *registers, "spills", "load sm_90", "moved / floor"]
    text = [
        "# What the fused kernels compile to",
        "",
        "Made by `python -m benchmarks.kernels_compiled`. Nothing here was run on a GPU: registers are those",
        "of a thread, each for fp32 / fp16 / bf16. A load is in bytes: the widest from each large input (not of",
        "labels, targets of a Q head or scalars), the narrowest of these. Bytes moved are counted in Triton's",
        "interpreter; the floor reads each input's storage once and writes each output once.",
        "",
        f"Triton {table['triton']}.",
        "",
        f"| {' | '.join(heads)} |",
        "| --- " * len(heads) + "|",
    ]
    rows = dict.fromkeys((line["kernel"], line["shape"]) for line in table["compiled"])
    for kernel, shape in rows:
        of_shape = [x for x in table["compiled"] if (x["kernel"], x["shape"]) == (kernel, shape)]
        moved = [x for x in table["traffic"] if (x["kernel"], x["shape"]) == (kernel, shape)]
        registers = [" / ".join(str(x["registers"]) for x in of_shape if x["target"] == t) for t in TARGETS]
        spills = sum(x["spilled_bytes"] for x in of_shape)
        on_sm_90 = [x for x in of_shape if x["target"] == "sm_90" and x["expected_loads"]]
        loads = " / ".join(str(min(x["loads"][name] for name in x["expected_loads"])) for x in on_sm_90)
        ratio = max((x["moved_bytes"] / x["floor_bytes"] for x in moved), default=None)
        text.append(
            f"| {kernel} | {shape} | {' | '.join(registers)} | {spills} | {loads} | "
            f"{'' if ratio is None else f'{ratio:.3f}'} |"
        )
    return "\n".join(text) + "\n"


def main() -> int:
    """Write the table or check a part of it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=0, metavar="N", help="check one case in N, write nothing")
    parser.add_argument("--check", action="store_true", help="check the written table, compile nothing")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--traffic", action="store_true", help="print the traffic only, as JSON (interpreter)")
    options = parser.parse_args()
    every = max(1, options.every)
    if options.traffic:
        print(json.dumps(count_traffic(every)))
        return 0

    if options.check:
        wrong = check_written()
        print("\n".join(wrong) or "the table is of these sources and within the rules")
        return 1 if wrong else 0

    import triton

    command = [sys.executable, "-m", "benchmarks.kernels_compiled", "--traffic", "--every", str(every)]
    counted = subprocess.run(
        command,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    with tempfile.TemporaryDirectory() as cache:
        triton.knobs.cache.dir = cache
        compiled = compile_all(every, options.targets)
    table = {
        "triton": triton.__version__,
        "sources": sources_digest(),
        "compiled": compiled,
        "traffic": json.loads(counted.stdout.splitlines()[-1]),
    }
    wrong = broken_rules(table["compiled"], table["traffic"])
    if not options.every:
        RESULTS.mkdir(exist_ok=True)
        lines = ",\n".join(json.dumps(line) for line in table["compiled"])
        bytes_ = ",\n".join(json.dumps(line) for line in table["traffic"])
        head = json.dumps({k: table[k] for k in ("triton", "sources")})[:-1]
        text = f'{head}, "compiled": [\n{lines}\n], "traffic": [\n{bytes_}\n]}}\n'
        (RESULTS / "kernels-compiled.json").write_text(text)
        (RESULTS / "kernels-compiled.md").write_text(markdown(table))
    print(f"{len(compiled)} launches compiled, {len(wrong)} break a rule")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
