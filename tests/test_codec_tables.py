"""Count tables, the entropy coder, and the artifact that holds them."""

from __future__ import annotations

import importlib.util
import struct

import codec_support
import numpy as np
import pytest
from codec_support import codec, latents, token_codec, tokens

from ae_sweep.analysis.quantiser import Alphabet
from ae_sweep.codec import ans, storage
from ae_sweep.codec.table_fit import fit_tables
from ae_sweep.codec.tables import COUNT_LEVELS, Tables, as_levels
from ae_sweep.errors import ConfigError, DataError, EntropyCoderError

needs_coder = pytest.mark.skipif(not ans.is_available(), reason="constriction is not published")
TEST = latents(2_000, seed=1)
POINTS = range(8)


@needs_coder
@pytest.mark.parametrize("index", POINTS)
def test_symbols_decode_bit_for_bit_and_the_stream_is_as_long_as_the_tables_say(index: int) -> None:
    tables = codec().points[index].tables
    symbols = codec().quantise(TEST, index)
    payload = ans.encode(symbols, tables)
    assert (ans.decode(payload, tables, len(TEST)) == symbols).all()
    bits = tables.code_lengths(symbols).sum()
    assert bits - 1 <= 8 * len(payload) <= 1.001 * bits + 32


@needs_coder
def test_tokens_decode_bit_for_bit_even_ones_that_training_never_had() -> None:
    unseen = np.full((9, 4), codec_support.TOKENS - 1, np.int32)
    coded = np.concatenate([tokens(seed=1), unseen])
    payload = token_codec().encode(coded, 0)
    assert (token_codec().decode(payload, 0, len(coded)) == coded).all()


@needs_coder
def test_several_blocks_decode_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ans, "BLOCK_IMAGES", 300)
    tables = codec().points[5].tables
    symbols = codec().quantise(TEST, 5)
    blocks = list(ans.decode_blocks(ans.encode(symbols, tables), tables, len(TEST)))
    assert [len(each) for each in blocks] == [300] * 6 + [200]
    assert (np.concatenate(blocks) == symbols).all()


@needs_coder
def test_the_stream_of_a_known_table_has_known_bytes() -> None:
    alphabet = Alphabet(low_K=np.array([-1, 5]), high_K=np.array([1, 5]))
    levels = np.array([3, 9, 1, 0], np.uint8)
    tables = Tables(alphabet=alphabet, levels_S=levels)
    first = np.tile([0, 1, 0, -1, 0, 0, -1, 1, 0, 0], 3)
    symbols = np.column_stack([first, np.full(30, 5)]).astype(np.int32)
    assert ans.encode(symbols, tables) == bytes.fromhex("90ea89d00a3348b304")
    assert (ans.decode(bytes.fromhex("90ea89d00a3348b304"), tables, 30) == symbols).all()


@needs_coder
def test_coding_nothing_takes_four_bytes_whatever_the_images() -> None:
    alphabet = Alphabet(low_K=np.array([2]), high_K=np.array([2]))
    tables = Tables(alphabet=alphabet, levels_S=np.array([255], np.uint8))
    payload = ans.encode(np.full((500, 1), 2, np.int32), tables)
    assert payload == b"\x00\x00\x00\x01"
    assert (ans.decode(payload, tables, 500) == 2).all()


@needs_coder
def test_a_stream_that_ran_dry_is_refused_within_its_first_block() -> None:
    payload = codec().encode(TEST[:10], 5)
    blocks = codec().decode_blocks(payload, 5, 1_000_000)
    with pytest.raises(DataError, match=r"ran dry within images 1 to 4,096 of 1,000,000"):
        next(blocks)


@needs_coder
def test_a_stream_that_holds_more_than_its_images_is_refused() -> None:
    payload = codec().encode(TEST[:10], 5)
    with pytest.raises(DataError, match="not at its end after 9 images"):
        codec().decode(payload, 5, 9)


@needs_coder
def test_a_panic_of_the_coder_is_an_error_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def panic(*_: object) -> None:
        raise PanicException("scale is 0")

    payload = codec().encode(TEST[:10], 5)
    monkeypatch.setattr(ans, "_pop", panic)
    with pytest.raises(DataError, match="cannot be decoded \\(scale is 0\\)"):
        codec().decode(payload, 5, 10)


def test_other_exceptions_of_a_coder_are_not_hidden() -> None:
    with pytest.raises(KeyboardInterrupt), ans._without_panic():
        raise KeyboardInterrupt


def test_without_the_coder_lengths_are_computed_and_coding_says_where_it_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert codec().code_lengths(TEST, 5).mean() > 0
    for call in (lambda: codec().encode(TEST, 5), lambda: codec().decode(b"\0\0\0\1", 5, 1)):
        with pytest.raises(EntropyCoderError, match="Linux on x86-64 with glibc") as caught:
            call()
        assert caught.value.exit_code == 3


def test_clusters_shorten_the_code_of_grouped_latents() -> None:
    plain, clustered = (codec().code_lengths(TEST, index).mean() for index in (4, 5))
    assert clustered < 0.94 * plain


def test_images_without_groups_get_the_common_tables_alone() -> None:
    drawn = np.random.default_rng(0).integers(-3, 4, size=(2_000, 5)).astype(np.int32)
    alphabet = Alphabet(low_K=np.full(5, -3), high_K=np.full(5, 3))
    from ae_sweep.codec.table_fit import fit_clustered_tables

    tables = fit_clustered_tables(drawn, alphabet, np.arange(2_000) % 8)
    assert tables.clusters is None


def test_every_symbol_of_an_alphabet_has_a_count_and_counts_are_integers() -> None:
    alphabet = Alphabet(low_K=np.array([-4]), high_K=np.array([4]))
    counts = fit_tables(np.zeros((1_000, 1), np.int32), alphabet).counts(0)
    assert counts.dtype == np.int64
    assert len(counts) == 9
    assert counts.min() >= 1
    assert counts[4] / counts[0] == pytest.approx(2_001, rel=0.03)


def test_a_count_is_stored_within_a_thirtieth() -> None:
    weights = np.unique(np.geomspace(1, 10**6, 2_000).astype(np.int64))
    stored = COUNT_LEVELS[as_levels(weights)] * (weights[-1] / COUNT_LEVELS[-1])
    assert (abs(stored / weights - 1) < 1 / 30).all()


def test_the_length_of_a_code_is_that_of_its_counts() -> None:
    alphabet = Alphabet(low_K=np.array([0]), high_K=np.array([2]))
    tables = Tables(alphabet=alphabet, levels_S=np.array([0, 1, 4], np.uint8))  # counts 1, 2, 5
    lengths = tables.code_lengths(np.array([[0], [1], [2]]))
    assert lengths == pytest.approx([3.0, 2.0, np.log2(8 / 5)])


def test_values_beyond_the_tables_are_clamped_before_the_error_is_measured() -> None:
    far = TEST * 100
    symbols = codec().quantise(far, 4)
    alphabet = codec().points[4].tables.alphabet
    assert (symbols >= alphabet.low_K).all()
    assert (symbols <= alphabet.high_K).all()
    with pytest.raises(ConfigError, match="clamp them first"):
        codec().points[4].tables.code_lengths(symbols + 1_000)


def test_an_artifact_read_back_codes_the_same_and_has_the_same_bytes() -> None:
    for each in (codec(), token_codec()):
        content = storage.to_bytes(each)
        back = storage.from_bytes(content)
        assert storage.to_bytes(back) == content
        assert [point.name for point in back.points] == [point.name for point in each.points]
        assert (back.model_sha256, back.image_shape) == (each.model_sha256, each.image_shape)
        assert [back.table_bytes(i) for i in range(len(back.points))] == [
            each.table_bytes(i) for i in range(len(each.points))
        ]
    index = 7
    back = storage.from_bytes(storage.to_bytes(codec()))
    symbols = codec().quantise(TEST, index)
    assert (back.quantise(TEST, index) == symbols).all()
    assert (back.dequantise(symbols, index) == codec().dequantise(symbols, index)).all()
    assert (back.code_lengths(TEST, index) == codec().code_lengths(TEST, index)).all()


def test_the_size_of_tables_is_what_they_add_to_the_artifact() -> None:
    content = storage.to_bytes(codec())
    header = 8 + struct.unpack_from("<Q", content)[0]
    points = codec().points
    arrays = codec().transform.forward_DK.nbytes + codec().transform_bytes + 6 * len(points)
    arrays += sum(codec().table_bytes(index) for index in range(0, 8, 2))
    arrays += sum(codec().table_bytes(i + 1) - codec().table_bytes(i) for i in range(0, 8, 2))
    assert len(content) - header == arrays


def test_a_newer_artifact_is_refused_with_its_version() -> None:
    content = storage.to_bytes(token_codec()).replace(rb"\"version\": 1", rb"\"version\": 7")
    with pytest.raises(DataError, match="version 7, this ae-sweep reads version 1"):
        storage.from_bytes(content)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", np.array([4, 1, np.nan, 2], np.float32), "not finite"),
        ("steps", np.array([4, 1, -1, 2], np.float32), "not one positive number"),
        ("mean", np.zeros(6, np.float32), "do not fit"),
        ("levels", np.zeros(3, np.uint8), "another length"),
        ("point_quantisers", np.full(8, 4, np.uint16), "quantiser that is not there"),
        ("point_clusters", np.full(8, 60_000, np.uint16), "too many clusters"),
        ("low", np.full((4, 6), 32_000, np.int16), "ranges"),
        ("high", np.full((4, 6), 1, np.int32), "int32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, value: np.ndarray, message: str) -> None:
    import safetensors
    import safetensors.numpy

    content = storage.to_bytes(codec())
    header = content[8 : 8 + struct.unpack_from("<Q", content)[0]]
    import json

    metadata = json.loads(header)["__metadata__"]
    arrays = safetensors.numpy.load(content) | {name: value}
    with pytest.raises(DataError, match=message):
        storage.from_bytes(safetensors.numpy.save(arrays, metadata=metadata))


@pytest.mark.slow
@pytest.mark.parametrize("make", [codec, token_codec])
def test_mutated_artifacts_are_errors_of_data_or_codecs_that_work(make: object) -> None:
    generator = np.random.default_rng(0)
    content = storage.to_bytes(make())
    data = TEST[:20] if make is codec else tokens(20)
    read = 0
    for _ in range(3_000):
        mutated = bytearray(content)
        for _ in range(generator.integers(1, 4)):
            most = len(mutated) if generator.random() < 0.7 else 700
            mutated[generator.integers(most)] = generator.integers(256)
        if generator.random() < 0.1:
            del mutated[generator.integers(len(mutated)) :]
        try:
            found = storage.from_bytes(bytes(mutated))
            read += 1
            # A step or matrix may be absurd, and still is no reason to fail otherwise.
            with np.errstate(all="ignore"):
                for index in range(len(found.points)):
                    found.dequantise(found.quantise(data, index), index)
        except DataError:
            pass
    assert 0 < read < 3_000
