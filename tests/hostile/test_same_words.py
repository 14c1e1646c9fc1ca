"""What is said of a file is the same in every process: no order of a set is in it, and no address."""

import json

from tests.cli.process import attn_from_scratch
from tests.hostile import test_array_files, test_json_files, test_torch_files
from tests.hostile.making import bytes_of

INDEX = ".safetensors.index.json"
OUTSIDE = json.dumps({"weight_map": {f"t{number}": f"../x{number}" for number in range(9)}}).encode()
FILES = [
    (".npz", [test_array_files.BROKEN_ZIPS[case][0] for case in test_array_files.SMALL]),
    (".pt", [test_torch_files.BROKEN[case][0] for case in test_torch_files.SMALL]),
    (INDEX, [OUTSIDE, *(test_json_files.BROKEN[case][0] for case in test_json_files.SMALL)]),
]


def test_two_processes_say_the_same(tmp_path):
    paths = []
    for suffix, contents in FILES:
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"{number}{suffix}")
            paths[-1].write_bytes(bytes_of(content))
    first, second = (attn_from_scratch("check", *map(str, paths), PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert (first.returncode, second.returncode) == (2, 2)
    assert first.stderr.count(b"attn: error: ") == len(paths)
    assert first.stderr == second.stderr
