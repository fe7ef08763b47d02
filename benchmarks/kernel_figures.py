"""Figures of compiled kernels from the compilers' output: registers, spills and the widths of loads."""

from __future__ import annotations

import re
from typing import Any


def of_nvidia(compiled: Any, log: str) -> dict[str, Any]:
    """Figures of a kernel compiled for an NVIDIA GPU; `log` is the assembler's."""
    ptx = compiled.asm["ptx"]
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", log))
    return {
        "registers": max(int(n) for n in re.findall(r"Used (\d+) registers", log)),
        "spilled_bytes": spilled,
        "stack_bytes": max(int(n) for n in re.findall(r"(\d+) bytes stack", log)),
        "shared_bytes": compiled.metadata.shared,
        "widest_load": _widest(r"ld\.global[\w.:]*?(?:\.v(\d))?\.b(\d+)", ptx),
        "widest_store": _widest(r"st\.global[\w.:]*?(?:\.v(\d))?\.b(\d+)", ptx),
        "fused_float32": len(re.findall(r"\bfma\.[\w.]*f32", ptx)),
    }


def _widest(pattern: str, text: str) -> int:
    return max((int(v or 1) * int(bits) // 8 for v, bits in re.findall(pattern, text)), default=0)


def of_amd(compiled: Any) -> dict[str, Any]:
    """Figures of a kernel compiled for an AMD GPU."""
    text = compiled.asm["amdgcn"]

    def field(name: str) -> int:
        return max(int(n) for n in re.findall(rf"\.{name}:\s+(\d+)", text))

    def widest(kind: str) -> int:
        sizes = {
            "ubyte": 1,
            "ushort": 2,
            "short": 2,
            "short_d16": 2,
            "short_d16_hi": 2,
            "dword": 4,
            "byte": 1,
        }
        bytes_ = [0]
        for word in re.findall(rf"\b(?:global|buffer|flat)_{kind}_(\w+)", text):
            wide = re.fullmatch(r"dwordx(\d)", word)
            bytes_.append(4 * int(wide[1]) if wide else sizes.get(word, 0))
        return max(bytes_)

    roots = len(re.findall(r"\bv_sqrt_f32", text))  # each adds two fused multiply-adds for correct rounding
    return {
        "registers": field("vgpr_count"),
        "spilled_bytes": 4 * (field("vgpr_spill_count") + field("sgpr_spill_count")),
        "stack_bytes": field("private_segment_fixed_size"),
        "shared_bytes": compiled.metadata.shared,
        "widest_load": widest("load"),
        "widest_store": widest("store"),
        "fused_float32": len(re.findall(r"\bv_(?:pk_)?fm\w+_f32", text)) - roots * 2,
    }


def loads_of(llir: str, pointers: list[str]) -> dict[str, int]:
    """Bytes of the widest load from each pointer argument, found by tracing addresses through LLVM's code."""
    _, _, function = llir.partition("\ndefine ")
    head, _, body = function.partition("{\n")
    parameters = re.findall(r"ptr addrspace\(1\)(?: [a-z]+(?:\([\w, ]*\))?)* (%\d+)", head)
    origins = {parameter: {name} for parameter, name in zip(parameters, pointers, strict=False)}
    widest = dict.fromkeys(pointers, 0)
    for _ in range(2):  # a loop's phi may precede the definition of its operands
        for line in body.splitlines():
            sources = set().union(*(origins.get(p, ()) for p in re.findall(r"(%[\w.]+)", line.partition(" = ")[2])))
            result = re.match(r"\s*(%[\w.]+) = (?:tail call )?(?:ptr|getelementptr|phi ptr|select .* ptr)", line)
            if result:
                origins[result[1]] = origins.get(result[1], set()) | sources
            for name in sources:
                widest[name] = max(widest[name], _load_bytes(line))
    return widest


def _load_bytes(line: str) -> int:
    """Bytes that a line of LLVM's code loads from global memory; 0 if it is not such a load."""
    if "ld.global" in line:
        return _widest(r"ld\.global[\w.:]*?(?:\.v(\d))?\.b(\d+)", line)
    loaded = re.search(r"call (\S+|<[^>]*>) @llvm\.amdgcn\.raw\.ptr\.buffer\.load", line)
    loaded = loaded or re.search(r" = load (\S+|<[^>]*>), ptr addrspace\(1\)", line)
    if not loaded:
        return 0
    bits = {"half": 16, "bfloat": 16, "float": 32, "double": 64}
    number, kind = re.fullmatch(r"(?:<(\d+) x )?(\w+)>?", loaded[1]).groups()
    return int(number or 1) * (bits.get(kind) or int(kind.removeprefix("i"))) // 8
