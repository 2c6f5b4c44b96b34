"""What the scripts beside this share: compress_tool, and statistics of the inputs of a published model's matrices."""
import json
import pathlib
import subprocess

import torch
import transformers
from safetensors.torch import save_file

WINDOWS, LENGTH = 4, 512
# Where a layer's inputs are measured, and the matrices that read them.
PLACES = {"attention": ("self_attn", ["q_proj", "k_proj", "v_proj"]), "o": ("self_attn", ["o_proj"]),
          "mlp": ("mlp", ["gate_proj", "up_proj"]), "down": ("mlp", ["down_proj"])}


class Tool:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, **job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"compress_tool ended at {job}")
        return json.loads(line)


class Statistics:
    """Sums over the inputs of a module."""

    def __init__(self, module):
        n = module.in_features
        self.tokens, self.hessian = 0, torch.zeros(n, n, dtype=torch.float64)
        self.magnitudes, self.largest = torch.zeros(n, dtype=torch.float64), torch.zeros(n)
        module.register_forward_pre_hook(self.add)

    def add(self, _, arguments):
        x = arguments[0].detach().reshape(-1, arguments[0].shape[-1]).float()
        self.tokens += x.shape[0]
        self.hessian += (x.T @ x).double()
        self.magnitudes += x.abs().double().sum(0)
        self.largest = torch.maximum(self.largest, x.abs().amax(0))


def open_model(gguf):
    """Its tokenizer and the model of transformers, in fp32."""
    path = pathlib.Path(gguf)
    return (transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name),
            transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval())


def measure(gguf, text, layers, folder):
    """Writes LAYER.PLACE.safetensors with statistics and weights."""
    tokenizer, model = open_model(gguf)
    blocks = model.model.layers
    layers = range(len(blocks)) if layers is None else layers
    found = {}
    for layer in layers:
        for place, (part, names) in PLACES.items():
            found[layer, place] = Statistics(getattr(getattr(blocks[layer], part), names[0]))
    ids = tokenizer(pathlib.Path(text).read_text()[:40000])["input_ids"]
    with torch.no_grad():
        for window in range(WINDOWS):
            model.model(input_ids=torch.tensor(ids[window * LENGTH:(window + 1) * LENGTH])[None])
    for (layer, place), s in found.items():
        part, names = PLACES[place]
        tensors = {name: getattr(getattr(blocks[layer], part), name).weight.detach().contiguous().clone() for name in names}
        save_file(tensors | {"hessian": (s.hessian + s.hessian.T) / 2, "magnitudes": s.magnitudes, "largest": s.largest,
                             "tokens": torch.tensor([s.tokens])}, folder / f"{layer}.{place}.safetensors")
    return [(layer, place) for layer, place in found]
