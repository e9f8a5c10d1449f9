#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets: corpus/<target>/<case>, beside this script."""

import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def npy(header, data, version=1):
    header = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def npy_dict(descr, shape, order="False"):
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"


CORPORA = {
    "safetensors": {
        "empty": safetensors({}, b""),
        "two": safetensors(
            {"__metadata__": {"format": "pt"}, "a": tensor("F32", [2], 0, 8), "b": tensor("U8", [1, 3], 8, 11)},
            bytes(11)),
        "scalar": safetensors({"s": tensor("I64", [], 0, 8), "e": tensor("F64", [0], 8, 8)}, bytes(8)),
        "bf16_padded": safetensors(b'{"w":{"dtype":"BF16","shape":[1,1,1,1,2],"data_offsets":[0,4]}}   ', bytes(4)),
        "hole": safetensors({"a": tensor("I32", [1], 4, 8)}, bytes(8)),
        "overflow": safetensors({"a": tensor("F32", [1 << 32, 1 << 32], 0, 8)}, bytes(8)),
        "duplicate": safetensors(b'{"a":{"dtype":"U8","dtype":"U8"},"a":{}}', b""),
        "nested": safetensors(b'{"a":' * 40, b""),
        "not_utf8": safetensors(b'{"\xff":{}}', b""),
        "zero_byte": safetensors(b"{}\0", b""),
        "long_length": struct.pack("<Q", 1 << 63) + b"{}",
    },
    "npy": {
        "f4": npy(npy_dict("<f4", "(3,)"), bytes(12)),
        "f8_version2": npy(npy_dict("<f8", "(1, 2)"), bytes(16), version=2),
        "u1_rank0": npy(npy_dict("|u1", "()"), b"x"),
        "i4_empty": npy(npy_dict("<i4", "(0, 5)"), b""),
        "i8": npy(npy_dict("<i8", "(1,)"), bytes(8)),
        "f2": npy(npy_dict("<f2", "(1,)"), bytes(2)),
        "fortran": npy(npy_dict("<f4", "(1,)", order="True"), bytes(4)),
        "overflow": npy(npy_dict("<f4", "(4294967296, 4294967296)"), b""),
        "truncated": npy(npy_dict("<f4", "(3,)"), bytes(11)),
        "no_dict": npy("", b""),
        "magic_only": b"\x93NUMPY\x02\x00",
    },
}


def main():
    for target, cases in CORPORA.items():
        folder = ROOT / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in cases.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
