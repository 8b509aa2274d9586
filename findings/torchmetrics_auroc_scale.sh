#!/usr/bin/env bash
# torchmetrics: the AUC of a 0 to 255 map is not the AUC of that map divided by 255. Large: PyTorch with its CUDA libraries is some 2 GB to fetch
# and 6 GB on disk, two to seven minutes. It runs on a CPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchmetrics==1.9.0 numpy==2.4.6
cat > "$folder/case.py" <<'END'
import torch
import torchmetrics
from torchmetrics.classification import BinaryAUROC
from torchmetrics.functional.classification import binary_auroc

draw = torch.Generator().manual_seed(0)
fixated = (torch.rand(10000, generator=draw) < 0.3).long()
grey = (torch.randn(10000, generator=draw) * 40 + 110 + 30 * fixated).clamp(0, 255).floor()    # a map of whole numbers, as a PNG holds
pairs = grey[fixated == 1][:, None] - grey[fixated == 0]                                       # the definition: pairs in order, ties a half
truth = ((pairs > 0).float() + (pairs == 0).float() / 2).mean().item()
values = {"0 to 255": binary_auroc(grey, fixated).item(), "divided by 255": binary_auroc(grey / 255, fixated).item()}
print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)
print("AUC by its definition", round(truth, 4), "torchmetrics:", {name: round(value, 4) for name, value in values.items()})

batches = [(torch.tensor([0.69, 0.9]), torch.tensor([0, 1])), (torch.tensor([-4.0, 0.7]), torch.tensor([0, 1]))]
metric = BinaryAUROC()
for scores, labels in batches:
    metric.update(scores, labels)
apart = metric.compute().item()
whole = binary_auroc(torch.cat([scores for scores, _ in batches]), torch.cat([labels for _, labels in batches])).item()
print("four logits in two batches:", apart, "in one:", whole)
print("""Surprise: as soon as one score lies outside [0, 1] all of the batch go through a sigmoid. It keeps the order on paper, but in float32 every
score above some 17 becomes 1, so most of a 0 to 255 map is one tie and its AUC is near a half. And it is decided batch by batch: logits that
happen to lie within [0, 1] are left as they are and compared with others that were squashed, so the result depends on the batching.
Do: scale scores into [0, 1] yourself, the same way for all of them, before the metric sees them.""")
holds = abs(values["divided by 255"] - truth) < 1e-3 and values["0 to 255"] < truth - 0.1 and (apart, whole) == (0.75, 1.0)
raise SystemExit(0 if holds else 1)
END
cd "$folder"
"$folder/venv/bin/python" case.py || { echo "This no longer holds with these versions." >&2; exit 1; }
