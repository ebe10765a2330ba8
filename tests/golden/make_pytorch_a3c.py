"""Make `pytorch_a3c.npz` with PyTorch: the referee of the whole chain. Run it only to make the file anew.

    pip install torch==2.13.0 numpy && python tests/golden/make_pytorch_a3c.py

The network is the A3C-LSTM of pytorch-a3c at its real size (42x42 in, 32 channels, 256 hidden, 6 actions), with
one stream of 5 steps and an episode's end after the third. PyTorch computes in float64. Weights and inputs are
multiples of a power of two, so float32 and float64 start from the same numbers, and the sum of the LSTM's two
biases is exact.

How 590,000 weights, their gradients and their updates (7 MB in float32) are kept in a small file:

- weights and inputs are `numbers`, a formula on integers that gives the same bits in any version of NumPy;
- of gradients and updates the file keeps the `sketch` of each tensor, in which a wrong entry cannot hide: its
  norm, its sum, its products with 4 vectors of random signs, and 64 of its entries. A permuted or transposed
  tensor has the same norm and sum, and other products.

An update is the difference from the first weights: of the updated weights only one part in a thousand is new.
Two steps, because the first step of Adam does not depend on the scale of the gradient: only at the second one
do the clipping and the averages of the optimiser show.
"""

import sys
from pathlib import Path

import numpy as np

ACTIONS, STEPS, END = 6, 5, 2
GAMMA, LAMBDA, ENTROPY, VALUE, CLIP, RATE = 0.99, 1.0, 0.01, 0.5, 50.0, 1e-4
SHAPES = {
    **{
        f"conv{i}.{kind}": shape
        for i in range(1, 5)
        for kind, shape in (("weight", (32, 1 if i == 1 else 32, 3, 3)), ("bias", (32,)))
    },
    "lstm.weight_ih": (1024, 288), "lstm.weight_hh": (1024, 256), "lstm.bias_ih": (1024,), "lstm.bias_hh": (1024,),
    "critic_linear.weight": (1, 256), "critic_linear.bias": (1,),
    "actor_linear.weight": (ACTIONS, 256), "actor_linear.bias": (ACTIONS,),
}  # fmt: skip
GAINS = {"critic_linear.weight": 8.0, "actor_linear.weight": 6.0}  # heads that the loss and the clipping feel


def numbers(stream: int, shape) -> np.ndarray:
    """Multiples of 1/2048 spread evenly over [-1, 1), float32: the finaliser of SplitMix64 on a counter.

    Source: "Fast splittable pseudorandom number generators" by Steele et al.
    """
    x = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(stream << 32)
    x *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x ^= x >> np.uint64(31)
    return ((x >> np.uint64(52)).astype(np.float32) / 2048 - 1).reshape(shape)


def draw_weights() -> dict:
    """A state dict of weights so large that both branches of the ELU and the range of each gate are used."""
    weights = {}
    for stream, (name, shape) in enumerate(SHAPES.items()):
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 16
        scale = 2.0 ** round(np.log2(GAINS.get(name, 2.0) / fan_in**0.5))
        weights[name] = numbers(stream, shape) * np.float32(scale)
    return weights


def draw_inputs() -> dict:
    """One stream: observations, the state before it, actions and rewards; `first` marks a new episode."""
    first = np.zeros(STEPS + 1, bool)
    first[END + 1] = True
    return {
        "observation": numbers(100, (STEPS + 1, 42, 42)) * np.float32(2),
        "h": numbers(101, 256),
        "c": numbers(102, 256) * np.float32(2),
        "a": np.array([4, 0, 5, 2, 4]),
        "r": np.array([1, 0, -1, 1, 1], np.float32),
        "first": first,
    }


def sketch(tensor) -> np.ndarray:
    """Norm, sum, products with 4 vectors of signs, and 64 entries of a tensor, in float64."""
    flat = np.asarray(tensor, np.float64).ravel()
    signs = np.where(numbers(200, (4, flat.size)) < 0, -1.0, 1.0)
    entries = flat[np.linspace(0, flat.size - 1, 64).astype(int)]
    return np.concatenate([[np.linalg.norm(flat), flat.sum()], signs @ flat, entries])


def build():
    """The network of pytorch-a3c, with the weights of `draw_weights`."""
    import torch
    from torch import nn

    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            for i in range(1, 5):
                setattr(self, f"conv{i}", nn.Conv2d(1 if i == 1 else 32, 32, 3, stride=2, padding=1))
            self.lstm = nn.LSTMCell(288, 256)
            self.critic_linear, self.actor_linear = nn.Linear(256, 1), nn.Linear(256, ACTIONS)

        def forward(self, x, state):
            for i in range(1, 5):
                x = nn.functional.elu(getattr(self, f"conv{i}")(x))
            state = self.lstm(x.reshape(1, -1), state)
            return self.actor_linear(state[0])[0], self.critic_linear(state[0])[0, 0], state

    network = ActorCritic().to(torch.get_default_dtype())
    network.load_state_dict({name: torch.from_numpy(w) for name, w in draw_weights().items()})
    return network


def play(network, inputs):
    """Logits and values of every step, and the state after the last."""
    import torch

    state, logits, values = (inputs["h"][None], inputs["c"][None]), [], []
    for t in range(STEPS + 1):
        if inputs["first"][t]:
            state = tuple(torch.zeros_like(s) for s in state)
        z, v, state = network(inputs["observation"][t][None, None], state)
        logits.append(z)
        values.append(v)
    return logits, values, state


def loss_of(logits, values, inputs):
    """The loss of pytorch-a3c: the returns train the critic, the generalised advantages the actor; summed."""
    import torch

    loss, after, total, advantage = 0.0, values[-1].detach(), values[-1].detach(), 0.0
    for t in reversed(range(STEPS)):
        if t == END:  # nothing comes after
            after, total, advantage = 0.0, 0.0, 0.0
        total = inputs["r"][t] + GAMMA * total
        v = values[t].detach()
        advantage = inputs["r"][t] + GAMMA * after - v + GAMMA * LAMBDA * advantage
        after = v
        log_pi = torch.log_softmax(logits[t], 0)
        entropy = -(log_pi.exp() * log_pi).sum()
        loss = loss - log_pi[inputs["a"][t]] * advantage - ENTROPY * entropy
        loss = loss + VALUE * 0.5 * (total - values[t]) ** 2
    return loss


def coverage(network, inputs) -> dict:
    """The share of negative inputs of each ELU, and the least and greatest input of each gate."""
    import torch

    seen = {"elu_negative": [], "gates": []}
    x, h = inputs["observation"][:1][None], inputs["h"][None]
    with torch.no_grad():
        for i in range(1, 5):
            x = getattr(network, f"conv{i}")(x)
            seen["elu_negative"].append((x < 0).double().mean().item())
            x = torch.nn.functional.elu(x)
        cell = network.lstm
        z = x.reshape(1, -1) @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    seen["gates"] = [(gate.min().item(), gate.max().item()) for gate in z[0].split(256)]
    return seen


def optimiser_alone() -> dict:
    """Three steps of Adam on gradients around its ε, where it matters what ε is added to."""
    import torch

    gradients = torch.outer(torch.tensor([1.0, -0.5, 2.0]), 10.0 ** torch.arange(-11.0, 0.0))
    x = torch.zeros(11, requires_grad=True)
    optimizer, path = torch.optim.Adam([x], lr=RATE), []
    for gradient in gradients:
        x.grad = gradient
        optimizer.step()
        path.append(x.detach().numpy().copy())
    return {"adam_gradients": gradients.numpy(), "adam_path": np.stack(path)}


def run(dtype: str) -> dict:
    """The network, its loss and two training steps in PyTorch."""
    import torch

    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    real = lambda x: x.to(torch.get_default_dtype()) if x.is_floating_point() else x  # noqa: E731
    inputs = {name: real(torch.from_numpy(value)) for name, value in draw_inputs().items()}
    network = build()
    golden = {"torch_version": torch.__version__, **coverage(network, inputs), **optimiser_alone()}
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    losses, norms = [], []
    for step in (1, 2):
        logits, values, (h, c) = play(network, inputs)
        if step == 1:
            golden |= {"logits": torch.stack(logits), "values": torch.stack(values), "h": h[0], "c": c[0]}
        loss = loss_of(logits, values, inputs)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        for name, p in network.named_parameters():
            golden[f"gradient_{step}.{name}"] = sketch(p.grad)
        norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP).item())
        optimizer.step()
        for name, p in network.named_parameters():
            golden[f"update_{step}.{name}"] = sketch(p.detach() - start[name])
    golden |= {"losses": losses, "gradient_norms": norms}
    return {name: x.detach().numpy() if torch.is_tensor(x) else np.asarray(x) for name, x in golden.items()}


def main():
    golden, single = run("float64"), run("float32")
    for name in ("logits", "values", "h", "c", "losses", "gradient_norms"):
        print(f"{name}: PyTorch's float32 is within {np.abs(golden[name] - single[name]).max():.1e} of its float64")
    for name in ("elu_negative", "gates", "losses", "gradient_norms", "logits", "values"):
        print(name, golden[name].round(3).tolist())
    path = Path(__file__).with_name("pytorch_a3c.npz")
    np.savez_compressed(path, **golden)
    print(path.name, path.stat().st_size, "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
