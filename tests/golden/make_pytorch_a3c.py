"""Make `pytorch_a3c.npz` with PyTorch: the referee of the whole chain. Run it only to make the file anew.

    pip install torch==2.13.0 numpy && python tests/golden/make_pytorch_a3c.py

The network is the A3C-LSTM of pytorch-a3c at its real size (42x42 in, 32 channels, 256 hidden, 6 actions), with
one stream of 5 steps and an episode's end after the third. The file holds the inputs, the logits and values, the
loss, and one step of clipped Adam. 590,000 weights, as many gradients and as many updated weights would make
7 MB, so weights are drawn by NumPy's Philox (`draw_weights`, which the test imports; its stream is fixed by
NumPy's policy), and of gradients and updated weights the file keeps what a wrong entry cannot hide in: each
tensor's norm, its sum, its products with 4 random vectors, and 64 of its entries.
"""

import sys
from pathlib import Path

import numpy as np

ACTIONS, STEPS, END = 6, 5, 2
GAMMA, ENTROPY, VALUE, CLIP, RATE = 0.99, 0.01, 0.5, 50.0, 1e-4
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


def draw_weights() -> dict:
    """A state dict of weights large enough that every branch and gate is exercised."""
    rng = np.random.Generator(np.random.Philox(7))
    weights = {}
    for name, shape in SHAPES.items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 16
        weights[name] = (rng.random(shape) * 2 - 1).astype(np.float32) * np.float32(2.0 / fan_in**0.5)
    return weights


def draw_inputs() -> dict:
    """One stream: observations, the state before it, actions and rewards; `first` marks a new episode."""
    rng = np.random.Generator(np.random.Philox(8))
    first = np.zeros(STEPS + 1, bool)
    first[END + 1] = True
    return {
        "observation": rng.normal(size=(STEPS + 1, 42, 42)).astype(np.float32),
        "h": rng.normal(size=256).astype(np.float32) * np.float32(0.5),
        "c": rng.normal(size=256).astype(np.float32),
        "a": rng.integers(0, ACTIONS, STEPS),
        "r": rng.choice([-1.0, 0.0, 1.0], STEPS).astype(np.float32),
        "first": first,
    }


def sketch(tensor: np.ndarray) -> np.ndarray:
    """Norm, sum, products with 4 random vectors and 64 entries of a tensor, in float64."""
    flat = np.asarray(tensor, np.float64).ravel()
    rng = np.random.Generator(np.random.Philox(flat.size))
    vectors = rng.normal(size=(4, flat.size))
    entries = flat[np.linspace(0, flat.size - 1, 64).astype(int)]
    return np.concatenate([[np.linalg.norm(flat), flat.sum()], vectors @ flat, entries])


def run() -> dict:
    """The network, its loss and one training step in PyTorch."""
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

    network = ActorCritic()
    network.load_state_dict({name: torch.from_numpy(w) for name, w in draw_weights().items()})
    inputs = {name: torch.from_numpy(value) for name, value in draw_inputs().items()}
    state = inputs["h"][None], inputs["c"][None]
    logits, values = [], []
    for t in range(STEPS + 1):
        if inputs["first"][t]:
            state = tuple(torch.zeros_like(s) for s in state)
        z, v, state = network(inputs["observation"][t][None, None], state)
        logits.append(z)
        values.append(v)
    loss, target = 0.0, values[-1].detach()
    for t in reversed(range(STEPS)):
        target = inputs["r"][t] + GAMMA * (0.0 if t == END else target)
        log_pi = torch.log_softmax(logits[t], 0)
        advantage = target - values[t]
        entropy = -(log_pi.exp() * log_pi).sum()
        loss = loss - log_pi[inputs["a"][t]] * advantage.detach() - ENTROPY * entropy + VALUE * 0.5 * advantage**2
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    loss.backward()
    gradients = {name: p.grad.numpy().copy() for name, p in network.named_parameters()}
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
    optimizer.step()
    golden = {
        "logits": torch.stack(logits).detach().numpy(), "values": torch.stack(values).detach().numpy(),
        "state_h": state[0][0].detach().numpy(), "state_c": state[1][0].detach().numpy(),
        "loss": loss.item(), "gradient_norm": norm.item(), "torch_version": torch.__version__,
    }  # fmt: skip
    golden |= {f"gradient.{name}": sketch(g) for name, g in gradients.items()}
    golden |= {f"updated.{name}": sketch(p.detach().numpy()) for name, p in network.named_parameters()}
    return golden


if __name__ == "__main__":
    path = Path(__file__).with_name("pytorch_a3c.npz")
    np.savez_compressed(path, **run())
    print(path, path.stat().st_size, "bytes", file=sys.stderr)
