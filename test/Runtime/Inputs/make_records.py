# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""make_records.py FOLDER: variants of FOLDER/runs.npz, each with one thing changed."""

import io
import pathlib
import sys
import zipfile

import numpy as np

folder = pathlib.Path(sys.argv[1])
with np.load(folder / "runs.npz") as loaded:
    RECORD = dict(loaded)


def save(name, *, without=(), **changed):
    record = {key: value for key, value in RECORD.items() if key not in without}
    record.update(changed)
    np.savez_compressed(folder / f"{name}.npz", **record)


def changed(key, index, value):
    array = RECORD[key].copy()
    array[index] = value
    return array


def save_members(name, version, force_zip64):
    """Stored, with another version of .npy or the fields of large archives."""
    with zipfile.ZipFile(folder / f"{name}.npz", "w") as archive:
        for key, value in RECORD.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, value, version)
            with archive.open(key + ".npy", "w", force_zip64=force_zip64) as member:
                member.write(content.getvalue())


def main():
    np.savez(folder / "stored.npz", **RECORD)
    save_members("version3", (3, 0), False)
    save_members("zip64", (2, 0), True)
    logits = "run3/out/logits"
    lowest = int(np.argmin(RECORD[logits]))
    save("off", **{logits: changed(logits, (0, lowest), RECORD[logits][0, lowest] - 0.01)})
    save("nan", **{logits: changed(logits, (0, lowest), np.nan)})
    save("argmax", **{"run1/out/logits": changed("run1/out/logits", (0, 0), 99)})
    save("count", **{"run2/out/count": RECORD["run2/out/count"] + 1})
    batch = {"batch1_seq1/" + key[5:]: value for key, value in RECORD.items() if key.startswith("run0/")}
    batch["batch3_seq5/in/token"] = np.zeros((3, 5), np.int64)
    batch["batch3_seq5/in/s_in"] = batch["batch3_seq5/in/m_in"] = np.zeros((3, 64), np.float32)
    save("batch", **batch)
    outputs = [key for key in RECORD if "/out/logits" in key]
    save("half", **{key: RECORD[key].astype(np.float16) for key in outputs})
    save("missing", without=["run4/in/s_in"])
    save("unknown", **{"run0/out/logit": RECORD["run0/out/logits"]})
    save("dtype", **{"run0/in/token": RECORD["run0/in/token"].astype(np.int32)})
    save("shape", **{"run0/in/s_in": RECORD["run0/in/s_in"].reshape(8, 8)})
    save("none", without=[key for key in RECORD if key.startswith("run")])
    save("nooutputs", without=[key for key in RECORD if key.startswith("run0/out/")])
    save("fortran", **{"run0/in/token": np.asfortranarray(np.zeros((2, 2), np.int64))})
    save("big", **{"run0/in/token": RECORD["run0/in/token"].astype(">i8")})
    save("range", **{"run0/in/token": np.full((1, 1), 256, np.int64)})


if __name__ == "__main__":
    main()
