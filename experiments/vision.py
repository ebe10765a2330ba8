"""Train a classifier on handwritten digits: the 1,797 real images of 8x8 pixels that come with scikit-learn.

python experiments/vision.py
python experiments/vision.py --network resnet18
"""

from jaxrl.shell import signals

signals.quiet(__name__)

import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from annotated_types import Ge, Interval

from jaxrl.agents.options import Count, Natural, Positive, check_bounds
from jaxrl.losses import softmax_cross_entropy
from jaxrl.nearest import unknown
from jaxrl.networks import VISION, parameter_count
from jaxrl.shell import cli, files, plots, provenance
from jaxrl.shell.metrics import Progress, params_digest
from jaxrl.shell.sinks import Sink

CLASSES, PIXELS = 10, 8
HELD_OUT = 1 / 5
SPLIT_SEED = 0  # the same images are held out whatever --seed is
PACKAGES = ("flax", "optax", "scikit-learn")
# What differs from the defaults below, so that each network fits its images and learns them in minutes on two cores.
OWN = {
    "lenet": {},
    "batch_norm_lenet": {},
    "alexnet": {"size": 64, "width": 0.25, "learning_rate": 2e-3},
    "vgg11": {"size": 32, "width": 0.25, "learning_rate": 2e-3},
    "nin": {"size": 72, "width": 0.25, "learning_rate": 2e-3},
    "googlenet": {"size": 32, "width": 0.25, "learning_rate": 2e-3, "epochs": 20},
    "resnet18": {"size": 32, "width": 0.25, "learning_rate": 2e-3, "epochs": 20},
    "densenet121": {"size": 32, "width": 0.25, "learning_rate": 2e-3, "epochs": 15},
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a classifier on 1,438 handwritten digits, and test it on 359 others.

    The networks: lenet, batch_norm_lenet, alexnet, vgg11, nin, googlenet, resnet18, densenet121. Some have defaults of
    their own: `--network NAME --help` shows them.
    """

    network: str = "lenet"
    """Name of the network."""
    width: Positive = 1.0
    """Factor on the hidden numbers of channels and units; 1 is the network as published."""
    size: Annotated[int, Ge(PIXELS)] = 28
    """Height and width to which the images of 8x8 pixels are enlarged."""
    epochs: Count = 40
    """Times that the training images are gone through; the few that do not fill a batch are left out of that epoch."""
    batch_size: Count = 64
    """Images in one step."""
    learning_rate: Positive = 5e-3
    """Learning rate of Adam at the start; it falls to 0 along half a cosine."""
    shift: Annotated[float, Interval(ge=0, lt=PIXELS)] = 0.5
    """Farthest that a training image is moved at random along each axis, in pixels of the 8x8; 0 for not at all."""
    seed: Natural = 0
    """Seed of the parameters, the batches and the shifts; the same seed gives the same numbers to the bit."""
    run_dir: Path | None = None
    """Folder for result.json and curve.png, which must not exist yet; by default runs/vision_NETWORK_SEED_TIME."""


class Digits(NamedTuple):
    """Images float32 [N, H, W, 1], and their labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray


class State(NamedTuple):
    """All that training changes."""

    params: Any
    batch_stats: Any
    optimizer: Any
    key: jax.Array


def main(config: Config):
    """Train, test after every epoch, and write the result and its curve."""
    began = time.monotonic()
    check(config)
    network = VISION[config.network](CLASSES, config.width)
    train, held_out = standardized(*split(digits(config.size)))
    if config.batch_size > len(train.labels):
        raise ValueError(f"--batch-size must not exceed the {len(train.labels)} training images.")
    shapes = jax.eval_shape(network.init, jax.random.key(0), train.images[:1])  # raises where the images do not fit
    run_dir = new_run(config)
    print(
        f"{config.network}, {parameter_count(shapes['params']):,} parameters, learns {len(train.labels):,} images of "
        f"{config.size}x{config.size}; {len(held_out.labels)} are held out; the result will be in {run_dir}; "
        "compiling first",
        flush=True,
    )
    history, save = [], Sink("result.json", partial(files.write_json, run_dir / "result.json"), print, keep=1)
    try:
        for state, row in learn(config, network, train, held_out):
            history.append(row | {"seconds": round(time.monotonic() - began, 2)})
            save(result_of(config, state.params, history))
    except KeyboardInterrupt:
        print("interrupted" + (f"; what the whole epochs reached is in {run_dir}" if history else ""))
        raise
    print(f"{history[-1]['accuracy']:.2%} of the held-out images are right after {history[-1]['seconds']:.0f} seconds")
    save.demand()
    draw_curve(run_dir, history, f"{config.network} on digits, width {config.width}, seed {config.seed}")


def check(config: Config):
    """Raise ValueError, in one sentence, for options that cannot work."""
    if config.network not in VISION:
        raise unknown("network", config.network, VISION)
    check_bounds(config)


def digits(size: int) -> Digits:
    """All images in [0, 1], enlarged, in the order of scikit-learn (the one place that asks for it).

    Raises: ValueError when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ValueError("the images come with scikit-learn; install it: pip install -e '.[vision]'") from None
    found = load_digits()
    images = np.asarray(found.images[..., None] / found.images.max(), np.float32)
    images = jax.image.resize(images, (len(images), size, size, 1), "linear")
    return Digits(np.asarray(images), found.target.astype(np.int32))


def split(data: Digits) -> tuple[Digits, Digits]:
    """Training and held-out digits: of every class the same part is held out, drawn at random, the same each time."""
    rng = np.random.default_rng(SPLIT_SEED)
    classes = [rng.permutation(np.flatnonzero(data.labels == label)) for label in range(CLASSES)]
    counts = [round(HELD_OUT * len(rows)) for rows in classes]
    held_out = np.sort(np.concatenate([rows[:n] for rows, n in zip(classes, counts, strict=True)]))
    kept = np.sort(np.concatenate([rows[n:] for rows, n in zip(classes, counts, strict=True)]))
    return Digits(*(a[kept] for a in data)), Digits(*(a[held_out] for a in data))


def standardized(train: Digits, held_out: Digits) -> tuple[Digits, Digits]:
    """Both with the brightness moved and scaled so that the training images have mean 0 and variance 1."""
    mean, deviation = train.images.mean(), train.images.std()
    return tuple(data._replace(images=(data.images - mean) / deviation) for data in (train, held_out))


def learn(config: Config, network, train: Digits, held_out: Digits):
    """Yield the state and the figures of each epoch."""
    steps = len(train.labels) // config.batch_size
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.epochs * steps))
    example = Digits(*(a[: config.batch_size] for a in train))
    state = init(network, optimizer, example.images, config.seed)
    step, classify = compiled(network, optimizer, state, example)
    rng = np.random.default_rng(config.seed)
    text = ""
    with Progress(config.epochs * steps) as progress:
        for epoch in range(1, config.epochs + 1):
            losses = []
            for batch in batches(rng, train, config.batch_size, round(config.shift * config.size / PIXELS)):
                state, loss = step(state, batch)
                losses.append(float(loss))
                progress.show((epoch - 1) * steps + len(losses), text)
            row = {"epoch": epoch, "loss": float(np.mean(losses))}
            if not np.isfinite(row["loss"]):
                raise ValueError(f"the loss is {row['loss']} in epoch {epoch}; take a smaller --learning-rate.")
            row["accuracy"] = accuracy(classify, state, held_out, config.batch_size)
            text = f"epoch {epoch}  loss {row['loss']:.4f}  held out {row['accuracy']:.2%}"
            yield state, row


def init(network, optimizer, images, seed: int) -> State:
    """The state from nothing."""
    key, subkey = jax.random.split(jax.random.key(seed))
    variables = jax.jit(network.init)(subkey, images)
    params = variables["params"]
    return State(params, variables.get("batch_stats", {}), optimizer.init(params), key)


def compiled(network, optimizer, state: State, batch: Digits):
    """`step(state, batch) -> (state, loss)` and `classify(state, images) -> labels`, for arguments like these.

    The host calls one step after the other: as the body of a `lax.scan` over an epoch, XLA:CPU took 28 ms for a step of
    LeNet at 32x32 instead of 12, and 1,070 ms instead of 51 for one of ResNet-18 (width 0.25, 64 images).
    """

    def loss_of(params, state, batch, key):
        logits, changed = network.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch.images,
            training=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        return softmax_cross_entropy(logits, batch.labels), changed.get("batch_stats", {})

    def step(state, batch):
        key, subkey = jax.random.split(state.key)
        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (loss, batch_stats), gradient = gradient_of(state.params, state, batch, subkey)
        updates, statistics = optimizer.update(gradient, state.optimizer, state.params)
        return State(optax.apply_updates(state.params, updates), batch_stats, statistics, key), loss

    def classify(state, images):
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return jnp.argmax(network.apply(variables, images), -1)

    step = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    return step, jax.jit(classify).lower(state, batch.images).compile()


def batches(rng, data: Digits, batch_size: int, shift: int):
    """Whole batches of an epoch, in random order, each image moved by up to `shift` pixels."""
    order = rng.permutation(len(data.labels))
    for end in range(batch_size, len(order) + 1, batch_size):
        rows = order[end - batch_size : end]
        yield Digits(shifted(rng, data.images[rows], shift), data.labels[rows])


def shifted(rng, images, shift: int):
    """Images moved at random, each by its own -shift to shift pixels along each axis; the background comes in."""
    margins = ((0, 0), (shift, shift), (shift, shift), (0, 0))
    padded = np.pad(images, margins, constant_values=images.min())
    first = rng.integers(0, 2 * shift + 1, (2, len(images), 1))
    rows, cols = (f + np.arange(n) for f, n in zip(first, images.shape[1:3], strict=True))
    return padded[np.arange(len(images))[:, None, None], rows[:, :, None], cols[:, None, :]]


def accuracy(classify, state: State, data: Digits, batch_size: int) -> float:
    """The part of the images that is classified right; the last batch is filled up, so that one program does all."""
    count = len(data.labels)
    padded = np.resize(data.images, (-(-count // batch_size) * batch_size, *data.images.shape[1:]))
    found = [classify(state, padded[i : i + batch_size]) for i in range(0, len(padded), batch_size)]
    return float(np.mean(np.concatenate(found)[:count] == data.labels))


def draw_curve(run_dir: Path, history: list[dict], title: str = "") -> Path:
    """Draw curve.png in a run's folder: held-out errors above, the training loss below; `history` as `learn` yields."""
    figure, wrong, loss = plots.panels(title)
    draw_errors(wrong, history)
    draw_loss(loss, history)
    return plots.save(figure, run_dir)


def draw_errors(axes, history: list[dict]):
    """The part of held-out images that is wrong; 20% at the top, unless it ends worse."""
    wrong = [100 * (1 - row["accuracy"]) for row in history]
    axes.plot([row["epoch"] for row in history], wrong, label="held-out images, wrong")
    axes.set(ylabel="wrong (%)", ylim=(0, max(20, 1.2 * wrong[-1])))
    axes.legend(loc="upper right", frameon=False)


def draw_loss(axes, history: list[dict]):
    """The mean training loss of each epoch."""
    epochs, losses = [row["epoch"] for row in history], [row["loss"] for row in history]
    axes.plot(epochs, losses, color="C1", label="cross-entropy in training")
    axes.set(xlabel="epochs", ylabel="loss (nats)", yscale="log")
    axes.legend(loc="upper right", frameon=False)


def new_run(config: Config) -> Path:
    """Make the run's folder."""
    name = f"vision_{config.network}_{config.seed}_{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir = config.run_dir or Path("runs") / name
    if run_dir.exists():
        raise ValueError(f"the run folder {run_dir} exists; give another --run-dir.")
    run_dir.mkdir(parents=True)
    return run_dir


def result_of(config: Config, params, history: list[dict]) -> dict:
    """What the last epoch reached, and all that it depends on."""
    options = {name: value for name, value in dataclasses.asdict(config).items() if name != "run_dir"}
    return {
        "accuracy": history[-1]["accuracy"],
        "seconds": history[-1]["seconds"],
        "parameters": parameter_count(params),
        "config": options,
        "params_digest": params_digest(params),
        **provenance.measured_on(*PACKAGES),
        "history": history,
    }


def config_of_network(arguments) -> Config | None:
    """The defaults of the network that the command line names."""
    network = cli.value_of("--network", arguments)
    return Config(network=network, **OWN[network]) if network in OWN else None


if __name__ == "__main__":
    cli.run(main, Config, config_of_network)
