"""A network that Qualm trained, in plain PyTorch.

    pip install torch safetensors pillow
    python model.py IMAGE [IMAGE ...]    writes IMAGE.probability.png beside each image

From Python:

    network = load(folder)                       # the folder of model.json and model.safetensors
    x = prepare(image, network.description)      # [1, channels, rows, columns]
    p = network.probabilities(x)                 # [1, classes, rows, columns], without dropout
    p = network.passes(x, 20)                    # [20, classes, rows, columns], with dropout

ONNX: torch.onnx.export(network, x, "model.onnx") writes the logits without dropout.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

# EfficientNet-Lite0: outputs, times as many channels between, side of the depthwise kernel, stride.
BLOCKS = [(16, 1, 3, 1), (24, 6, 3, 2), (24, 6, 3, 1), (40, 6, 5, 2), (40, 6, 5, 1), (80, 6, 3, 2), (80, 6, 3, 1),
          (80, 6, 3, 1), (112, 6, 5, 1), (112, 6, 5, 1), (112, 6, 5, 1), (192, 6, 5, 2), (192, 6, 5, 1),
          (192, 6, 5, 1), (192, 6, 5, 1), (320, 6, 3, 1)]
LEVELS = [16, 24, 40, 112, 320]


def same(x, side, stride):
    """Zeros around a map as TensorFlow's SAME has them, for even sides at stride 2."""
    before = (side - stride) // 2
    after = side - stride - before
    return F.pad(x, (before, after, before, after))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, expansion, side, stride):
        super().__init__()
        between = inputs * expansion
        self.side, self.stride, self.adds = side, stride, stride == 1 and inputs == outputs
        self.expand = nn.Conv2d(inputs, between, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(between, between, side, stride=stride, groups=between)
        self.project = nn.Conv2d(between, outputs, 1)

    def forward(self, x):
        y = F.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(same(y, self.side, self.stride))))
        return x + y if self.adds else y


class Lite0(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        inputs, blocks = 32, []
        for outputs, expansion, side, stride in BLOCKS:
            blocks.append(InvertedResidual(inputs, outputs, expansion, side, stride))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        """Features at the strides 2, 4, 8, 16 and 32."""
        x, features = F.relu6(self.stem(same(x, 3, 2))), []
        for block in self.blocks:
            if block.stride == 2:
                features.append(x)
            x = block(x)
        return features + [x]


class Double(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.a = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x):
        return F.relu(self.b(F.relu(self.a(x))))


class UNet(nn.Module):
    def __init__(self, description):
        super().__init__()
        self.description = description
        network = description["network"]
        widths, channels = network["widths"], network["channels"]
        self.place, self.rate = network["dropout_place"], network["dropout"]
        self.is_lite0 = network["encoder"] == "lite0"
        self.with_dropout = False
        features = [channels] + LEVELS if self.is_lite0 else widths
        deepest = len(features) - 1
        if self.is_lite0:
            self.encoder = Lite0()
        else:
            self.encoder = nn.ModuleList(
                Double(channels if level == 0 else features[level - 1], features[level]) for level in range(deepest + 1))
        below = [features[deepest] if level + 1 == deepest else widths[level + 1] for level in range(deepest)]
        self.decoder = nn.ModuleList(
            Double(below[level] + features[level], widths[level]) for level in reversed(range(deepest)))
        classes = network["classes"]
        self.head = nn.Conv2d(widths[0], 1 if classes == 1 else classes + 1, 1)

    def dropout(self, x):
        return F.dropout(x, self.rate, training=True) if self.with_dropout else x

    def encode(self, x):
        if self.is_lite0:
            return [x] + self.encoder(x.repeat(1, 3, 1, 1) if x.shape[1] == 1 else x)
        features = []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if 0 < level < len(self.encoder) - 1 and self.place == "all":
                x = self.dropout(x)
            features.append(x)
            x = F.max_pool2d(x, 2)
        return features

    def forward(self, x):
        """Logits [batch, 1 or classes + 1, rows, columns] of [batch, channels, rows, columns]."""
        features = self.encode(x)
        x = self.dropout(features.pop())
        for step, block in enumerate(self.decoder):
            skip = features.pop()
            x = block(torch.cat([F.interpolate(x, size=skip.shape[2:], mode="nearest"), skip], 1))
            if step + 1 < len(self.decoder) and self.place != "deepest":
                x = self.dropout(x)
        return self.head(x)

    @torch.no_grad()
    def probabilities(self, x):
        """Probability of each class, without the background: [batch, classes, rows, columns]."""
        logits = self(x)
        return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, 1)[:, 1:]

    def passes(self, x, count):
        """Monte-Carlo dropout over one image: [count, classes, rows, columns]."""
        self.with_dropout = True
        try:
            return torch.cat([self.probabilities(x) for _ in range(count)])
        finally:
            self.with_dropout = False


def load(folder):
    """The network of a folder with model.json and model.safetensors."""
    from safetensors.torch import load_file

    folder = Path(folder)
    network = UNet(json.loads((folder / "model.json").read_text()))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def scaled(x, image_range, is_8_bit):
    """Values from 0 to 1 by the range that the network was trained with."""
    if image_range["by"] == "each_image":
        values = x.flatten().sort().values
        low, high = (values[round((len(values) - 1) * share)].item() for share in (0.001, 0.999))
    elif image_range["by"] == "images" and is_8_bit:
        low, high = 0, 255
    else:
        low, high = image_range["low"], image_range["high"]
    return ((x - low) / (high - low if high > low else 1)).clamp(0, 1)


def prepare(image, description):
    """The network's input of an image, [rows, columns] or [rows, columns, channels], with the values that its file has.

    A network of tiles (description["geometry"]) takes an image cut into tiles of its size; this gives it at its own size.
    """
    network, statistics, picked = description["network"], description["statistics"], description["image_channels"]
    is_8_bit = str(getattr(image, "dtype", "uint8")) == "uint8"
    x = torch.tensor(image).float()
    x = x.unsqueeze(0) if x.ndim == 2 else x.permute(2, 0, 1)
    x = scaled(x, description["range"], is_8_bit)
    if x.shape[0] > 1:
        x = torch.stack([x[number - 1] if number <= x.shape[0] else torch.zeros_like(x[0]) for number in picked])
    if network["channels"] == 1 and x.shape[0] == 3:
        x = (x * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(0, keepdim=True)
    elif network["channels"] == 1:
        x = x[:1]
    elif x.shape[0] == 1:
        x = x.repeat(3, 1, 1)
    if x.shape[0] != network["channels"]:
        raise ValueError(f"the network takes {network['channels']} channels, and image_channels gives {x.shape[0]}")
    x, size = x.unsqueeze(0), (network["rows"], network["columns"])
    if description["geometry"] == "resize" and tuple(x.shape[2:]) != size:
        # The program keeps an image in 16 bits.
        x = F.interpolate(x * 65535, size=size, mode="bilinear", antialias=True).round() / 65535
    mean, deviation = (torch.tensor(statistics[name]).view(1, -1, 1, 1) for name in ("mean", "deviation"))
    return (x - mean) / deviation


def main():
    import numpy
    from PIL import Image

    network = load(Path(__file__).parent)
    for name in sys.argv[1:]:
        image = Image.open(name)
        image = image.convert("RGB") if image.mode in ("P", "RGBA", "CMYK", "YCbCr", "LA") else image
        p = network.probabilities(prepare(numpy.asarray(image), network.description))[0].sum(0)
        path = Path(name).with_suffix(".probability.png")
        Image.fromarray((p * 255).round().to(torch.uint8).numpy()).resize(image.size, Image.BILINEAR).save(path)
        print(path)


if __name__ == "__main__":
    main()
