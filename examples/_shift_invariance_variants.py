"""What `shift_invariance_cifar.py` compares: nine variants of one network, and their one recipe."""

import dataclasses
import functools
from collections.abc import Callable

import optax

import jaxconv as jc
from jaxconv.equivariance import make_shift_invariant


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is the same for every variant.

    Attributes:
        limit_per_class: training images of each class.
        epochs: passes over them.
        batch_size: images a step.
        learning_rate: the peak of a warm-up and a cosine, for SGD with Nesterov momentum 0.9.
        weight_decay: of the kernels.
        images: test images that are asked about under every circular shift.
        crop_images: test images that are asked about under every crop.
        crop: pixels of those crops.
        test_images: images that the accuracy is of.
        depth: of the ResNet.
    """

    limit_per_class: int = 800
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    images: int = 24
    crop_images: int = 200
    crop: int = 28
    test_images: int = 5_000
    depth: int = 20

    @property
    def steps(self) -> int:
        """Updates in a whole run."""
        return self.epochs * (10 * self.limit_per_class // self.batch_size)

    @property
    def folder(self) -> str:
        """Where networks trained this way lie."""
        return (
            f"resnet{self.depth}-{self.limit_per_class}x{self.epochs}-batch{self.batch_size}"
            f"-rate{self.learning_rate:g}-decay{self.weight_decay:g}"
        )


DEFAULT = Recipe()
QUICK = Recipe(limit_per_class=100, images=2, crop_images=20, test_images=500)


def canonicalized(model: jc.Layer) -> jc.Layer:
    """The model on images that are first rolled to a place that their content chooses."""

    def apply(params, state, x, *, train=False, key=None):
        f = lambda x: model.apply(params, state, x, train=train, key=key)
        return make_shift_invariant(f)(x)

    return jc.Layer(model.init, apply, model.name)


def variants(recipe: Recipe) -> dict[str, Callable[[], jc.Layer]]:
    """What is compared, by name."""
    resnet = functools.partial(jc.models.resnet, recipe.depth, 10, stem="cifar")
    circular = functools.partial(resnet, padding_mode="circular")
    blur = lambda taps: circular(down=functools.partial(jc.blur_pool, taps=taps))
    cooling = optax.exponential_decay(1.0, recipe.steps, 0.05)
    learned = lambda stride: jc.polyphase_down(
        stride, scorer=jc.phase_scorer(), temperature=cooling
    )
    # A parabola squares what it is given: it gets one size of every image, and only inside blocks.
    parabola = jc.serial(jc.alias_free_norm(), jc.filtered_polynomial(), name="parabola")
    alias_free = functools.partial(circular, down=jc.ideal_down, activation=parabola)
    return {
        "zero-padded": resnet,
        "circular": circular,
        "blur 2": lambda: blur(2),
        "blur 3": lambda: blur(3),
        "blur 5": lambda: blur(5),
        "polyphase": lambda: circular(down=jc.polyphase_down),
        "learned polyphase": lambda: circular(down=learned),
        "alias-free": lambda: alias_free(activate_sums=False),
        "canonicalized": lambda: canonicalized(resnet()),
    }
