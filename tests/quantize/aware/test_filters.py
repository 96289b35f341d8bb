"""Filters removed: dead ones without a trace, through every layer that is followed."""

import numpy as np
import pytest

from quantize import remove_filters

LOSS = "sparse_categorical_crossentropy"


def layers():
    import keras

    return keras.layers


def activated(x):
    """Batch normalization and ReLU."""
    return layers().ReLU()(layers().BatchNormalization()(x))


def conv(x, filters=8, name=None, **settings):
    return layers().Conv2D(filters, 3, padding="same", name=name, **settings)(x)


def plain(x):
    x = activated(conv(x, name="a"))
    x = layers().MaxPooling2D()(x)
    x = layers().Dropout(0.2)(conv(x, name="b", activation="relu"))
    return x, ["a", "b"]


def separable(x):
    la = layers()
    x = activated(conv(x, name="a"))
    x = la.DepthwiseConv2D(3, strides=2, padding="same", name="a_depthwise")(x)
    x = la.ReLU()(la.BatchNormalization(name="a_norm")(x))
    x = la.SeparableConv2D(8, 3, depth_multiplier=2, name="b")(x)
    x = la.DepthwiseConv2D(1, depth_multiplier=2, use_bias=False)(la.PReLU(shared_axes=[1, 2])(x))
    return x, ["a", "b"]


def residual(x):
    first = activated(conv(x, name="a"))
    second = conv(first, name="b", activation="relu")
    third = conv(second, name="c")
    return layers().ReLU()(layers().Add()([first, third])), [("a", "c"), "b"]


def operators(x):
    import keras

    first = conv(x, name="a", activation="relu")
    second = conv(first, name="b", activation="relu")
    mixed = keras.ops.relu(first * 0.5 + second - first)
    joined = keras.ops.concatenate([mixed, conv(x, name="c", activation="relu")], axis=-1)
    return joined, [("a", "b"), "c"]


def concatenated(x):
    first = conv(x, name="a", activation="relu")
    second = conv(x, 12, name="b", activation="relu")
    both = layers().Concatenate()([first, second])
    third = conv(both, 20, name="c")
    return layers().Average()([both, third]), [("a", "c"), ("b", "c")]


def squeezed(x):
    la = layers()
    x = conv(x, name="a", activation="relu")
    gate = la.GlobalAveragePooling2D()(x)
    gate = la.Dense(8, "relu", name="squeeze")(gate)
    gate = la.Dense(8, "sigmoid", name="excite")(gate)
    return la.Multiply()([x, la.Reshape((1, 1, 8))(gate)]), [("a", "excite"), "squeeze"]


def flattened(x):
    la = layers()
    x = conv(x, name="a", activation="relu")
    x = la.Dense(8, "relu", name="b")(la.Flatten()(x))
    return la.Reshape((1, 1, 4))(la.Dense(4, name="c")(la.Reshape((8,))(x))), ["a", "b", "c"]


def upside_down(x):
    la = layers()
    x = conv(x, name="a", activation="relu")
    x = la.Conv2DTranspose(8, 2, 2, name="b", activation="relu")(x)
    return la.UpSampling2D()(la.Cropping2D()(la.ZeroPadding2D()(x))), ["a", "b"]


def called_twice(x):
    shared = layers().Conv2D(8, 3, padding="same", activation="relu", name="b")
    x = conv(x, name="a", activation="relu")
    return shared(shared(x)), [("a", "b")]


def nested(x):
    import keras

    given = keras.Input((8, 8, 8))
    inner = keras.Model(given, conv(activated(conv(given, name="b")), name="c"), name="block")
    row = keras.Sequential([keras.Input((8, 8, 8)), layers().ReLU(), layers().MaxPooling2D()])
    return row(inner(conv(x, name="a", activation="relu"))), ["a", "block/b", "block/c"]


NETWORKS = [
    plain, separable, residual, operators, concatenated, squeezed, flattened, upside_down,
    called_twice, nested,
]  # fmt: skip


def tree_of(network, seed=3):
    """A tree of one node between two more, with biases and statistics that are not trivial."""
    import keras

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 2))
    output, groups = network(image)
    trunk = keras.Model(image, conv(output, 4, name="last"))
    given = keras.Input(trunk.output.shape[1:])
    x = layers().GlobalAveragePooling2D()(conv(given, name="own", activation="relu"))
    digit = keras.Model(given, layers().Dense(3, "softmax", name="classes")(x))
    tree = Tree.from_branches(trunk, {"digit": digit}, [Task("digit", LOSS)])
    random = np.random.default_rng(seed)
    for node in tree.nodes.values():
        node.set_weights([w + random.uniform(0.05, 0.3, w.shape) for w in node.get_weights()])
    return tree, groups


def layer_at(tree, path):
    node, *names = path.split("/")
    found = tree.nodes[node]
    for name in names:
        found = found.get_layer(name)
    return found


def kill(tree, path, filters):
    """Make filters' channels 0 throughout, also behind the layers named after theirs."""
    layer = layer_at(tree, path)
    weights = layer.get_weights()
    axis = -2 if "Transpose" in type(layer).__name__ else -1
    np.moveaxis(weights[-2], axis, -1)[..., filters] = 0
    weights[-1][filters] = 0
    layer.set_weights(weights)
    for other in followers(tree, layer):
        keep = 1 if type(other).__name__ == "BatchNormalization" else 0  # the variance
        weights = other.get_weights()
        for each in weights[: len(weights) - keep]:
            if each.ndim == 1:
                each[filters] = 0
        other.set_weights(weights)


def followers(tree, layer):
    """Batch normalizations directly behind a layer, and depthwise layers named after it."""
    from keras_tree.graph import call_of
    from keras_tree.nodes import inner_layers

    for other in inner_layers(tree.nodes["trunk"]):
        norm = type(other).__name__ == "BatchNormalization"
        if other.name.startswith(f"{layer.name}_") or (
            norm and call_of(other.input).operation is layer
        ):
            yield other


def draw(count=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 8, 8, 2)).astype(np.float32)


def filters_of(tree, path):
    layer = layer_at(tree, path)
    return getattr(layer, "filters", None) or layer.units


@pytest.mark.parametrize("network", NETWORKS)
def test_dead_filters_go_without_a_trace(network):
    """Half of every group is dead: exactly that half goes, and the outputs stay as they were."""
    tree, groups = tree_of(network)
    dead = {"a": [0, 3, 4, 7]}
    for group in groups:
        names = (group,) if isinstance(group, str) else group
        for name in names:
            count = filters_of(tree, f"trunk/{name}")
            chosen = {4: [0, 3], 12: [1, 2, 5, 6, 9, 10], 20: [0, 3, 4, 7, 9, 10, 13, 14, 17, 18]}
            dead[name] = chosen.get(count, [0, 3, 4, 7])
            kill(tree, f"trunk/{name}", dead[name])
    x = draw()
    expected, before = tree["digit"](x), tree.nodes["trunk"].get_weights()
    thin = remove_filters(tree, {"trunk": 0.5}, multiple=1)
    removed = [group for group in thin.groups if group.reason is None]
    wanted = [(g,) if isinstance(g, str) else g for g in groups]
    assert {g.layers for g in removed} == {tuple(f"trunk/{n}" for n in names) for names in wanted}
    for name, gone in dead.items():
        left = filters_of(tree, f"trunk/{name}") - len(gone)
        assert filters_of(thin.tree, f"trunk/{name}") == left
    np.testing.assert_allclose(thin.tree["digit"](x), expected, atol=1e-6)
    assert all(map(np.array_equal, before, tree.nodes["trunk"].get_weights()))
    assert thin.tree.nodes["trunk"].count_params() < tree.nodes["trunk"].count_params()


UNFOLLOWED = {
    "LSTM": lambda x: layers().LSTM(6)(layers().Reshape((64, 8))(x)),
    "softmax": lambda x: layers().Softmax()(x),
    "activation": lambda x: layers().Activation("softmax")(x),
    "LayerNormalization": lambda x: layers().LayerNormalization()(x),
    "grouped": lambda x: layers().Conv2D(6, 3, groups=2)(x),
    "channel reshape": lambda x: layers().Reshape((8, 8, 4, 2))(x),
    "permuted": lambda x: layers().Permute((3, 1, 2))(x),
    "scales": lambda x: layers().Rescaling([1.0] * 8)(x),
    "constant": lambda x: x * np.arange(8, dtype="float32"),
    "mean over channels": lambda x: __import__("keras").ops.mean(x, axis=-1, keepdims=True),
    "lambda": lambda x: layers().Lambda(lambda t: t[..., ::-1])(x),
    "own batch axis": lambda x: layers().BatchNormalization(axis=1)(x),
}


@pytest.mark.parametrize("kind", UNFOLLOWED)
def test_what_is_not_followed_keeps_its_channels(kind):
    """And says so; the filters behind it are free again where they are those of a known layer."""
    import keras

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 2))
    x = conv(image, name="a", activation="relu")
    x = layers().Flatten()(UNFOLLOWED[kind](x))
    x = layers().Dense(8, "relu", name="b")(x)
    trunk = keras.Model(image, x)
    given = keras.Input((8,))
    digit = keras.Model(given, layers().Dense(3, "softmax", name="classes")(given))
    tree = Tree.from_branches(trunk, {"digit": digit}, [Task("digit", LOSS)])
    thin = remove_filters(tree, 0.5, seams=True)
    (held,) = [group for group in thin.left_whole if group.layers == ("trunk/a",)]
    assert held.reason.startswith("trunk/")
    assert held.reason.endswith("is not followed")
    assert f"trunk/a: 8 of 8 filters kept ({held.reason})" in thin.summary()
    assert thin.tree.nodes["trunk"].get_layer("a").filters == 8
    assert thin.tree.nodes["trunk"].get_layer("b").units == 4
    assert thin.tree["digit"](draw()).shape == (6, 3)


def test_seams_lose_the_same_channels_on_every_side():
    """Where one path skips a node, both sides of which are then one seam."""
    import keras

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(0)

    def node(shape, name, classes=None):
        given = keras.Input(shape)
        x = conv(given, name=name, activation="relu")
        if classes:
            x = layers().Dense(classes, "softmax")(layers().Flatten()(x))
        return keras.Model(given, x)

    tree = Tree(
        {
            "trunk": node((8, 8, 2), "t"),
            "mid": node((8, 8, 8), "m"),
            "one": node((8, 8, 8), "o", 3),
        },
        {"one": ("trunk", "one"), "two": ("trunk", "mid", "one")},
        [Task("one", LOSS), Task("two", LOSS)],
    )
    (whole, *_) = remove_filters(tree, 0.5).left_whole
    assert whole.layers == ("trunk/t", "mid/m")
    assert whole.reason == "it crosses the seam 'trunk_output', and `seams` is False"
    for name, layer in (("trunk", "t"), ("mid", "m")):
        kill(tree, f"{name}/{layer}", [1, 2, 5, 6])
    x = draw()
    expected = tree(x)
    thin = remove_filters(tree, {"trunk": 0.5, "mid": 0.5}, seams=True)
    assert thin.left_whole == ()
    for end in ("trunk", "mid"):
        assert thin.tree.nodes[end].output.shape[-1] == 4
    for task in tree.tasks:
        np.testing.assert_allclose(thin.tree(x)[task], expected[task], atol=1e-6)


def test_the_least_important_by_kernel_and_normalization():
    import keras

    from keras_tree import Task, Tree

    image = keras.Input((8, 8, 2))
    x = conv(image, name="a")
    x = layers().Flatten()(layers().BatchNormalization(epsilon=0.0)(x))
    trunk = keras.Model(image, layers().Dense(3, "softmax")(x))
    tree = Tree({"trunk": trunk}, {"digit": ("trunk",)}, [Task("digit", LOSS)])
    a, norm = trunk.get_layer("a"), trunk.layers[2]
    strength = np.array([8, 7, 6, 5, 4, 3, 2, 1.0])
    gamma = np.array([1, 1, 1, -6, 1, 1, 1, 12.0])  # lifts the fourth and the last
    variance = np.array([100, 1, 1, 1, 1, 1, 1, 1.0])  # lowers the first
    a.set_weights([np.ones((3, 3, 2, 8)) * strength, np.arange(8.0)])
    norm.set_weights([gamma, np.zeros(8), np.zeros(8), variance])
    thin = remove_filters(tree, 0.5)
    np.testing.assert_array_equal(thin.tree.nodes["trunk"].get_layer("a").bias, [1, 2, 3, 7])


def test_a_multiple_of_filters_stays():
    tree, _ = tree_of(plain)
    for share, multiple, left in ((0.9, 4, 4), (0.3, 4, 8), (0.3, 1, 6), (0.9, 1, 1), (0.9, 8, 8)):
        thin = remove_filters(tree, {"trunk": share}, multiple=multiple)
        assert thin.tree.nodes["trunk"].get_layer("a").filters == left
    assert (
        remove_filters(tree, {"trunk": 0.5}, multiple=8).groups[0].reason.startswith("there is no")
    )


def test_untouched_nodes_are_equal_copies():
    from quantize.conversion.freezing import freeze

    tree, _ = tree_of(plain)
    thin = remove_filters(tree, {"trunk": 0.5})
    old, new = (freeze("digit", given.nodes["digit"]) for given in (tree, thin.tree))
    assert old.sha256 == new.sha256
    assert not set(map(id, tree.variables)) & set(map(id, thin.tree.variables))


def test_trainable_flags_stay():
    tree, _ = tree_of(nested)
    tree.nodes["trunk"].get_layer("block").get_layer("b").trainable = False
    thin = remove_filters(tree, {"trunk": 0.5}).tree.nodes["trunk"]
    assert [la.trainable for la in thin.get_layer("block").layers[1:]] == [False, True, True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shares": {"trunc": 0.5}}, "received 'trunc'. Did you mean 'trunk'[?]"),
        ({"shares": 1.0}, r"`shares\['trunk'\]` must be from 0 to below 1, received 1.0"),
        ({"shares": {"trunk": "half"}}, "received 'half'"),
        ({"shares": 0.5, "multiple": 0}, "`multiple` must be a whole number of at least 1"),
    ],
)
def test_refused(arguments, message):
    tree, _ = tree_of(plain)
    with pytest.raises(ValueError, match=message):
        remove_filters(tree, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetB0"])
def test_a_thin_network_is_the_whole_one_that_does_not_read_what_went(name, monkeypatch):
    """Residuals, depthwise, squeeze-excite, a nested model: whatever the constants of channels."""
    import keras

    from keras_tree import Task, Tree
    from quantize.aware import filters

    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    body = getattr(keras.applications, name)(
        input_shape=(32, 32, 3), weights=None, include_top=False
    )
    trunk = keras.Model(image, layers().ReLU()(body(image)))
    given = keras.Input(trunk.output.shape[1:])
    x = layers().GlobalAveragePooling2D()(layers().Conv2D(8, 1)(given))
    tree = Tree.from_branches(trunk, {"a": keras.Model(given, x)}, [Task("a", "mse")])
    random = np.random.default_rng(1)
    tree.set_weights(
        [
            np.abs(w + random.normal(0, 0.05, w.shape)) if w.ndim == 1 else w
            for w in tree.get_weights()
        ]
    )
    real, seen = filters._choose, []
    monkeypatch.setattr(filters, "_choose", lambda *a: seen.append((*a, real(*a))) or seen[-1][-1])
    thin = remove_filters(tree, 0.3, seams=True)
    assert thin.tree.count_params() < 0.75 * tree.count_params()
    assert all(g.reason.startswith(("it is", "there is no")) for g in thin.left_whole)
    (parts, channels, *_, (_, removed)) = seen[0]
    kept = channels.kept(removed)
    for part in parts:
        weights = part.layer.get_weights()
        weights[0][..., ~kept[part.input], :] = 0
        part.layer.set_weights(weights)
    x = random.normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(thin.tree["a"](x), tree["a"](x), atol=1e-6)
