#!/usr/bin/env python3
"""Writes the seed corpora of the fuzz targets: corpus/<target>/<case>, beside this script."""

import gzip
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


def idx(shape, data, kind=8):
    return bytes([0, 0, kind, len(shape)]) + b"".join(struct.pack(">I", n) for n in shape) + data


def entry(size, name, digest="06b05ab6733a618578af5f94892f3950"):
    return f"{digest} {size} {name}\n".encode()


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
    "idx": {
        "images": idx([2, 3, 4], bytes(range(24))),
        "labels": idx([5], bytes(5)),
        "rank4": idx([1, 1, 2, 3], bytes(6)),
        "none": idx([0, 28, 28], b""),
        "gzip": gzip.compress(idx([2, 3], bytes(6)), mtime=0),
        "gzip_stored": gzip.compress(idx([300], bytes(range(150)) * 2), 0, mtime=0),
        "gzip_truncated": gzip.compress(idx([2, 3], bytes(6)), mtime=0)[:-3],
        "gzip_only": b"\x1f\x8b",
        "short": idx([2, 3, 4], bytes(23)),
        "overflow": idx([0xFFFFFFFF] * 4, b""),
        "floats": idx([1], bytes(4), kind=13),
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    },
    "config": {
        "all": b"[train]\nbatch = 64\nrate = 1e-3\n[data]\nflip = false\npath = '/x'\n"
               b"[model]\nkind = \"deep\"\nchannels = [8, 16]\n",
        "dotted": b"train.batch = 3\ndata = {flip = true, path = \"\\u00e9\"}\n",
        "argument": b"train.batch=64",
        "list_argument": b"model.channels=[1, 2]",
        "path_argument": b"data.path=/some where",
        "unknown": b"[trian]\nbatch = 1\n",
        "types": b"a = 1979-05-27T07:32:00Z\nb = inf\nc = 0xff\nd = [[1], {x = 2}]\n[[e]]\n",
        "duplicate": b"[train]\nbatch = 1\nbatch = 2\n",
        "quoted": b'"train.batch" = 1\n"="."=" = 2\n',
        "nested": b"x = " + b"[" * 40,
        "dots": b"a." * 80 + b"a = 1",
        "header_comment": b"[#",
        "greek_key": b"model\xcf\x9channels=[1, 2]",
        "not_utf8": b"x = '\xff'",
    },
    "flat_json": {
        "state": b'{"format":"bigbigan-state 1","step":12,"consumed_samples":192,"elapsed_seconds":0.7,'
                 b'"config":"[model]\\nresolution = 32\\n"}\n',
        "values": b'{"a":-1,"b":1e-300,"c":null,"d":true,"e":"\\u00e9\\ud83d\\ude00","":0.0}',
        "largest": b'{"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551615}',
        "nested": b'{"a":{"b":1}}',
        "list": b'{"a":[1]}',
        "duplicate": b'{"a":1,"a":2}',
        "deep": b"[" * 100,
        "torn": b'{"step":12,"lo',
        "zero_byte": b"{}\0{",
        "surrogate": b'{"a":"\\ud800"}',
        "not_utf8": b'{"\xff":1}',
    },
    "manifest": {
        "two": entry(3, "abc") + entry(0, "model.safetensors"),
        "none": b"",
        "path": entry(3, "../abc"),
        "twice": entry(3, "a") + entry(3, "a"),
        "negative": entry(-3, "a"),
        "huge": entry(1 << 63, "a"),
        "not_hash": entry(3, "a", digest="x" * 32),
        "short": b"06b05ab6733a618578af5f94892f3950 3\n",
        "spaces": entry(3, "a b"),
        "end": b"end 06b05ab6733a618578af5f94892f3950\n",
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
