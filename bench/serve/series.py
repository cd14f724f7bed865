#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Series of a CT volume as inputs of a model of 3x224x224 pictures, for `serve --group-rows 1`: Debian's package
invesalius-examples has a head of 108 slices (Cranium.inv3, a .tar.gz with matrix.dat and main.plist).

    series.py Cranium.inv3 DIRECTORY [--least 4] [--most 16] [--type float16] [--input input]

cuts it from the first slice to the last into series of LEAST to MOST slices (a seeded draw), writes each as
DIRECTORY/NN.npy (slices x 3 x 224 x 224: the middle of the picture, one channel three times, bone and soft tissue
within -1 to 1) and prints the options for serve that name them.
"""
import argparse
import os
import plistlib
import random
import tarfile

import numpy as np


def read_volume(path):
    with tarfile.open(path) as project:
        names = {os.path.basename(name): name for name in project.getnames()}
        facts = plistlib.load(project.extractfile(names["main.plist"]))
        values = np.frombuffer(project.extractfile(names["matrix.dat"]).read(), np.int16)
    shape = facts["matrix"]["shape"]
    return values.reshape(shape)


def cut(slices, least, most, seed):
    """Lengths of series that together are all slices."""
    draw = random.Random(seed)
    lengths = []
    while slices > 0:
        length = min(draw.randint(least, most), slices)
        if slices - length < least:
            length = slices if slices <= most else slices - least
        lengths.append(length)
        slices -= length
    return lengths


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("project")
    parser.add_argument("directory")
    parser.add_argument("--least", type=int, default=4)
    parser.add_argument("--most", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--type", default="float16")
    parser.add_argument("--input", default="input")
    options = parser.parse_args()
    volume = read_volume(options.project)
    top, left = ((extent - 224) // 2 for extent in volume.shape[1:])
    pictures = np.clip(volume[:, top:top + 224, left:left + 224] / 1000.0, -1, 1).astype(options.type)
    os.makedirs(options.directory, exist_ok=True)
    first = 0
    for i, length in enumerate(cut(len(pictures), options.least, options.most, options.seed)):
        path = os.path.join(options.directory, "%02d.npy" % i)
        np.save(path, np.repeat(pictures[first:first + length, None], 3, axis=1))
        print("--%s %s=@%s" % ("mixed" if i else "shape", options.input, path))
        first += length


if __name__ == "__main__":
    main()
