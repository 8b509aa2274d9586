#!/usr/bin/env bash
# torch: a seed does not fix randn or uniform_ with bounds, nor with them the initial weights of most layers: another processor's vector instructions
# give other last bits. Large: PyTorch with its CUDA libraries is some 2 GB to fetch and 6 GB on disk, two to seven minutes. It runs on a CPU, an x86
# that knows AVX2; the variable below has it compute as one that does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cat > "$folder/drawn.py" <<'END'
import sys

import torch
from torch.nn import init
from torchvision.models import resnet18

torch.set_num_threads(1)


def seeded(draw):
    torch.manual_seed(0)
    return draw()


def two_steps(double):
    """What a ResNet-18 says after two steps of SGD on two pictures, from the seed's weights."""
    torch.manual_seed(0)
    model, images = resnet18(num_classes=2).train(), torch.rand(2, 3, 64, 64)
    model, images = (model.double(), images.double()) if double else (model, images)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(2):
        optimiser.zero_grad()
        (model(images) - torch.tensor([[0.0, 0.3], [0.6, 1.0]], dtype=images.dtype)).square().mean().backward()
        optimiser.step()
    return model.eval()(images).detach()


torch.save({"capability": torch.backends.cpu.get_cpu_capability(),
            "rand": seeded(lambda: torch.rand(1000)), "randperm": seeded(lambda: torch.randperm(1000)),
            "bernoulli_": seeded(lambda: torch.empty(1000).bernoulli_(0.3)), "randn of 15": seeded(lambda: torch.randn(15)),
            "randn": seeded(lambda: torch.randn(1000)), "uniform_(-0.1, 0.1)": seeded(lambda: torch.empty(1000).uniform_(-0.1, 0.1)),
            "kaiming_uniform_": seeded(lambda: init.kaiming_uniform_(torch.empty(30, 30))),
            "kaiming_normal_": seeded(lambda: init.kaiming_normal_(torch.empty(30, 30))),
            "trunc_normal_": seeded(lambda: init.trunc_normal_(torch.empty(1000), std=0.02)),
            "ResNet-18, two steps, float32": two_steps(False), "ResNet-18, two steps, float64": two_steps(True)}, sys.argv[1])
END
cat > "$folder/compared.py" <<'END'
import torch

here, plain = torch.load("here.pt"), torch.load("plain.pt")
print("torch", torch.__version__, "one seed, capabilities", here.pop("capability"), "and", plain.pop("capability"))
differ = {name: ((here[name] - plain[name]).abs().max() / here[name].abs().max()).item() for name in here}
for name, by in differ.items():
    print(f"{name:30} " + (f"differs by {by:.0e} of the largest" if by else "the same bits"))
print("""Surprise: with one seed and one version, rand, randperm and bernoulli_ are the same everywhere, and randn of 16 numbers and more and uniform_ with
bounds are not: their last bits hang on the processor's vector instructions. Nearly every initial weight is drawn with one of them. What that does
is no rounding any more after two steps through the batch norms of a ResNet, and computing in float64 does not help, for the weights already differ.
Do: do not expect one seed to give one training on two machines. Where numbers of a network are kept to test against, keep its initial weights too,
or draw them with rand, in float64.""")
same = not any(differ[name] for name in ("rand", "randperm", "bernoulli_", "randn of 15"))
last_bits = all(0 < differ[name] < 1e-5 for name in ("randn", "uniform_(-0.1, 0.1)", "kaiming_uniform_", "kaiming_normal_", "trunc_normal_"))
grown = all(differ[f"ResNet-18, two steps, {kind}"] > 1e-3 for kind in ("float32", "float64"))
raise SystemExit(0 if same and last_bits and grown else 1)
END
cd "$folder"
"$folder/venv/bin/python" drawn.py here.pt
ATEN_CPU_CAPABILITY=default "$folder/venv/bin/python" drawn.py plain.pt
"$folder/venv/bin/python" compared.py || { echo "This no longer holds with these versions, or on this processor." >&2; exit 1; }
