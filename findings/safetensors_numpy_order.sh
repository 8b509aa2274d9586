#!/usr/bin/env bash
# safetensors: a transposed NumPy array is saved in the wrong order, without an error. Takes half a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
for version in 0.7.0 0.8.0; do
    "$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/$version" "safetensors==$version"
done
cat > "$folder/case.py" <<'END'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

stored = np.arange(6.0).reshape(2, 3)
CASES = {"weights.T": stored.T, "weights.T.astype(float32)": stored.T.astype(np.float32), "np.copy(weights.T)": np.copy(stored.T),
         "np.ascontiguousarray(weights.T)": np.ascontiguousarray(stored.T)}
wrong = []
print("safetensors", safetensors.__version__, "NumPy", np.__version__)
for name, array in CASES.items():
    save_file({"weights": array}, "weights.safetensors")
    back = load_file("weights.safetensors")["weights"]
    wrong += [] if np.array_equal(array, back) else [name]
    print(f"  {name}: saved {array.tolist()}, loaded {back.tolist()}")
expected = list(CASES)[:3] if sys.argv[1] == "0.8.0" else []
sys.exit(0 if wrong == expected else 1)
END
cd "$folder"
for version in 0.7.0 0.8.0; do
    PYTHONPATH="$folder/$version" "$folder/venv/bin/python" case.py "$version"
done
cat <<'END'
Surprise: safetensors.numpy of 0.8.0 writes an array's memory as it lies, under the shape as it reads: what is stored column by column (any
.T, weights turned from another framework's layout, many results of linear algebra) comes back with its values in other places, same shape
and type. 0.7.0 is right. The torch side refuses such tensors; this side says nothing, and astype and np.copy keep the order, so they do not help.
Do: np.ascontiguousarray on every array before it is saved, and compare one array after loading.
END
