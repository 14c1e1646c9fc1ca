"""What the page's script computes, called on given arrays, against NumPy."""

import base64

import numpy as np
import pytest

from tests.browser.functions import write_functions

MASKED, NAN = 0, 255
CODE = "1 + Math.round(253 * Math.sqrt(weight))"


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    path = tmp_path_factory.mktemp("functions") / "functions.html"
    write_functions(path)
    return path


@pytest.fixture
def run(browser, blank):
    browser.open(blank)
    return browser.run


def _codes(weights, hidden):
    """The textbook's: 0 masked, 255 NaN, else 1 + round(253·√w)."""
    levels = 1 + np.rint(253 * np.sqrt(np.clip(np.nan_to_num(weights), 0, 1)))
    return np.where(hidden, MASKED, np.where(np.isnan(weights), NAN, levels)).astype(int)


def _weights(codes):
    return ((codes - 1) / 253) ** 2


def _blocks(x, down, across):
    for first in range(0, x.shape[0], down):
        for start in range(0, x.shape[1], across):
            yield x[first : first + down, start : start + across]


@pytest.mark.parametrize(
    ("rows", "columns", "down", "across"), [(6, 6, 2, 2), (7, 5, 3, 2), (1, 9, 1, 4), (8, 3, 8, 8)]
)
@pytest.mark.parametrize("strength", ["BY_CODE", "BY_DISTANCE"])
def test_a_pooled_cell_is_the_strongest_code_of_its_block(run, rows, columns, down, across, strength):
    draw = np.random.default_rng(rows * columns)
    codes = draw.choice([0, 0, 255, *range(1, 255)], size=(rows, columns), p=[0.2, 0.1, 0.02, *[0.68 / 254] * 254])
    script = f"return Array.from(pooled(arguments[0], {rows}, {columns}, {down}, {across}, {strength}).codes)"
    found = run(script, codes.ravel().tolist())

    def far(code):
        return -1 if code == MASKED else 1e9 if code == NAN else abs(code - 127.5) if strength != "BY_CODE" else code

    for got, block in zip(found, _blocks(codes, down, across), strict=True):
        assert far(got) == max(far(code) for code in block.ravel())


def test_the_bits_of_a_blob_tell_weights_and_masks(run):
    weights = np.array([0.25, 0.0, -0.0, -0.125, np.nan, -np.nan], "<f4")
    mask = np.array([0, 1, 0, 0, 1, 0], np.uint8)

    def blob(x):
        return {"n": x.nbytes, "z": False, "b": base64.b64encode(x.tobytes()).decode()}

    script = "return weightsOf(...arguments).then((x) => [Array.from(x.values, String), Array.from(x.hidden)])"
    assert run(script, blob(weights)) == [["0.25", "0", "0", "0.125", "NaN", "NaN"], [0, 0, 1, 1, 0, 1]]
    assert run(script, blob(weights), blob(mask))[0][:4] == ["0.25", "0", "0", "-0.125"]
    assert run(script, blob(weights), blob(mask))[1] == mask.tolist()


def test_codes_are_the_square_roots_in_253_steps(run):
    weights = np.array([0.0, 1e-6, 0.0123, 0.5, 1.0, 1.5, -0.3, np.nan, 0.2, np.nan])
    hidden = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    found = run("return Array.from(codesOf(known(...arguments)))", [str(x) for x in weights], hidden.tolist())
    assert found == _codes(weights, hidden).tolist()
    state = "state.top = 0.25; return [2, 60, 127.5, 254].map((code) => shareOfCode(code, arguments[0]))"
    shares = (np.array([2, 60, 127.5, 254]) - 1) / 253
    assert run(state, "weights") == pytest.approx(np.minimum(1, shares / 0.5))
    assert run(state, "difference") == pytest.approx(shares)


def _matrix(seed, rows, columns):
    """Weights with masked keys, of which some have a weight all the same, a NaN and a number below 0."""
    draw = np.random.default_rng(seed)
    weights = draw.random((rows, columns)).astype(np.float32)
    hidden = draw.random((rows, columns)) < 0.25
    weights[hidden & (draw.random((rows, columns)) < 0.5)] = 0
    weights[0, 0], hidden[0, 0] = np.nan, False
    weights[1, 1], hidden[1, 1] = -0.25, False
    hidden[2], weights[3, 0], hidden[3, 0] = True, np.nan, True
    return weights, hidden


def _told(x, hidden):
    return [str(value) for value in x.ravel()], hidden.astype(int).ravel().tolist()


def test_a_cell_and_a_row_are_the_arrays(run):
    weights, hidden = _matrix(1, 5, 6)
    script = """const call = makeCall(5, 6), exact = known(arguments[0], arguments[1]);
    const head = makeHead(call, 0, { cells: codesOf(exact), exact, lse: new Float32Array(5).fill(2) });
    return [...Array(30).keys()].map((i) => head.at(Math.floor(i / 6), i % 6)).map((one) => [one.state,
      String(one.weight), one.isExact, String(one.logit)])
      .concat([0, 1, 2].map((row) => head.row(row).values.map(String)))"""
    found = run(script, *_told(weights, hidden))
    for (state, weight, is_exact, logit), value, mask in zip(found[:30], weights.ravel(), hidden.ravel(), strict=True):
        assert state == ("masked" if mask else "nan" if np.isnan(value) else "weight")
        np.testing.assert_equal(np.float32(weight), value)
        assert is_exact
        if state == "weight" and value > 0:
            assert float(logit) == pytest.approx(np.log(np.float64(value)) + 2)
        else:
            assert logit in ("null", "NaN", "-Infinity")
    for row, told in enumerate(found[30:]):
        expected = np.where(hidden[row], -np.inf, weights[row])
        np.testing.assert_equal(np.array([np.float32(text.replace("Infinity", "inf")) for text in told]), expected)


@pytest.mark.parametrize(("down", "across"), [(2, 3), (5, 1), (1, 4)])
def test_a_pooled_head_says_of_which_weights_it_speaks(run, down, across):
    draw = np.random.default_rng(3)
    shape = -(-11 // down), -(-10 // across)
    cells = draw.integers(0, 256, shape)
    sink = draw.choice([0, 255, 17, 200], shape[0])
    script = f"""const picture = {{ rows: {shape[0]}, columns: {shape[1]}, query_pool: {down}, key_pool: {across} }};
    const call = makeCall(11, 10, {{ picture, has_sinks: true }});
    const head = makeHead(call, 0, {{ cells: Uint8Array.from(arguments[0]), sink: Uint8Array.from(arguments[1]) }});
    const some = [[0, 0], [10, 9], [4, 5], [7, -1], [0, -1], [10, -1]];
    return [some.map(([row, key]) => head.at(row, key)), some.map(([row]) => head.row(row)).map((one) =>
      ({{...one, values: one.values.map(String)}}))]"""
    told, rows = run(script, cells.ravel().tolist(), sink.tolist())
    for one, line, (row, key) in zip(told, rows, [(0, 0), (10, 9), (4, 5), (7, -1), (0, -1), (10, -1)], strict=True):
        code = sink[row // down] if key < 0 else cells[row // down, key // across]
        assert one["state"] == {MASKED: "masked", NAN: "nan"}.get(code, "weight")
        if one["state"] == "weight":
            assert one["weight"] == pytest.approx(_weights(code))
        first = row - row % down
        assert one["rows"] == line["rows"] == [first, min(first + down, 11)]
        if key >= 0:
            assert one["keys"] == [key - key % across, min(key - key % across + across, 10)]
        assert not one["isExact"]
        assert line["step"] == across
        expected = [{MASKED: -np.inf, NAN: np.nan}.get(x, _weights(x)) for x in cells[row // down]]
        got = [float(text.replace("Infinity", "inf")) for text in line["values"]]
        np.testing.assert_allclose(got, expected)


def _gap(weights, hidden):
    """A − B where a masked key gives nothing; NaN where a visible one has no number, or both are masked."""
    plain = [np.where(mask, 0, x) for x, mask in zip(weights, hidden, strict=True)]
    return np.where(hidden[0] & hidden[1], np.nan, plain[0].astype(float) - plain[1])


def test_an_exact_difference_is_that_of_the_visible_weights(run):
    sides = [_matrix(seed, 5, 6) for seed in (1, 2)]
    script = """const call = makeCall(5, 6);
    const sides = [0, 1].map((at) => known(arguments[2 * at], arguments[2 * at + 1])).map((exact, at) =>
      makeHead(call, at, { cells: codesOf(exact), exact }));
    const apart = new Difference(...sides);
    return [apart.largest, Array.from(apart.cells), [...Array(30).keys()].map((i) =>
      apart.at(Math.floor(i / 6), i % 6)).map((one) => [one.state, String(one.weight), one.isExact])]"""
    largest, cells, told = run(script, *_told(*sides[0]), *_told(*sides[1]))
    gap = _gap(*zip(*sides, strict=True)).ravel()
    both = (sides[0][1] & sides[1][1]).ravel()
    assert largest == pytest.approx(np.nanmax(np.abs(gap)))
    for code, (state, weight, is_exact), value, masked in zip(cells, told, gap, both, strict=True):
        assert state == ("masked" if masked else "nan" if np.isnan(value) else "weight")
        assert is_exact
        if state == "weight":
            assert float(weight) == pytest.approx(value, abs=1e-7)
            share = value / largest
            assert code == pytest.approx(127.5 + 126.5 * np.sign(share) * np.sqrt(abs(share)), abs=0.51)
        else:
            assert code == (MASKED if masked else NAN)


def test_a_pooled_difference_is_exact_only_where_both_sides_are(run):
    draw = np.random.default_rng(5)
    windows = [draw.random((4, 4)).astype(np.float32) for _ in range(2)]
    cells = draw.integers(1, 255, (2, 4, 4))
    script = """const call = makeCall(8, 8, { picture: { rows: 4, columns: 4, query_pool: 2, key_pool: 2 } });
    const window = (at, query, key) => ({ query, key, rows: 4, columns: 4, weights: known(arguments[at],
      Array(16).fill(0)), lse: null, sink: null });
    const sides = [makeHead(call, 0, { cells: Uint8Array.from(arguments[2]), windows: [window(0, 0, 0)] }),
      makeHead(call, 1, { cells: Uint8Array.from(arguments[3]), windows: [window(1, 2, 1)] })];
    const apart = new Difference(...sides);
    return [apart.patches.map(({ query, key, rows, columns }) => [query, key, rows, columns]), apart.at(3, 2),
      apart.at(6, 6), apart.at(0, 0), apart.cause]"""
    told = run(script, *(x.ravel().tolist() for x in windows), *(x.ravel().tolist() for x in cells))
    patches, inside, outside, half, cause = told
    assert patches == [[2, 1, 2, 3]]
    assert inside["isExact"]
    assert inside["weight"] == pytest.approx(windows[0][3, 2] - windows[1][1, 1], abs=1e-7)
    for one, (row, column) in ((outside, (3, 3)), (half, (0, 0))):
        assert not one["isExact"]
        assert one["weight"] == pytest.approx(_weights(cells[0, row, column]) - _weights(cells[1, row, column]))
        assert one["rows"] == [2 * row, 2 * row + 2]
        assert one["cause"] == "pools"
    assert cause == "pools"


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_so_many_keys_hold_a_share_of_the_row(run, share):
    weights = np.random.default_rng(1).dirichlet(np.full(40, 0.2))
    held = np.cumsum(np.sort(weights)[::-1])
    expected = int((held < share).sum()) + 1
    assert run("return keysOfShare(...arguments)", weights.tolist(), share) == expected
    script = """const call = makeCall(1, 40), exact = known(arguments[0], Array(40).fill(0));
      return rowWords(makeHead(call, 0, { cells: codesOf(exact), exact }), 0)"""
    if share == 0.9:
        assert run(script, weights.tolist()) == f"40 visible keys; 90 % of the weight is on {expected} of them."


@pytest.mark.parametrize(
    ("down", "across", "words"),
    [
        (1, 1, "12 visible keys; the weights are in 8 bits."),
        (5, 1, "a pale one is the largest of 5 × 1 weights, of queries 5–9."),
        (1, 3, "a pale one is the largest of 1 × 3 weights."),
        (5, 3, "a pale one is the largest of 5 × 3 weights, of queries 5–9."),
    ],
)
def test_the_words_below_a_row_say_what_is_pooled(run, down, across, words):
    script = f"""const picture = {{ rows: {10 // down}, columns: {12 // across}, query_pool: {down},
      key_pool: {across} }};
    const call = makeCall(10, 12, {{ picture }});
    return rowWords(makeHead(call, 0, {{ cells: new Uint8Array({10 // down * 12 // across}).fill(9) }}), 6)"""
    assert run(script).endswith(words)


def test_a_view_is_spelled_in_the_address_and_read_back(run):
    script = """const query_numbers = Array.from({ length: 20 }, (_, row) => 2 * row + 100);
    const call = makeCall(20, 30, { batch: [3, 5], query_numbers, has_sinks: true });
    for (const head of [0, 1]) headsOfCall.get(page.calls[call]).set(`1 ${head}`, { batch: 1, head, top: [] });
    Object.assign(state, { view: "head", call, batch: 1, head: 1, row: 7, key: -1, zoom: 3, at: [4.5, 6],
      top: 0.06, with: { call, batch: 1, head: 0 } });
    const text = fragment();
    history.replaceState(null, "", text);
    return [text, readFragment()]"""
    text, found = run(script)
    expected = {"batch=5", "head=7", "with=0.5.4", "q=114", "k=sink", "zoom=3", "at=4.5,6", "top=0.06", "call=0"}
    assert set(text[1:].split("&")) == expected
    wanted = {"view": "head", "batch": 1, "head": 1, "row": 7, "key": -1, "zoom": 3, "at": [4.5, 6], "top": 0.06}
    assert {name: found[name] for name in wanted} == wanted
    assert found["with"] == {"call": 0, "batch": 1, "head": 0}
    assert found["missing"] == []
    wrong = "call=2&head=9&q=101&k=30"
    missing = run("history.replaceState(null, '', `#${arguments[0]}`); return readFragment().missing", wrong)
    assert missing == ["call 2", "head 9", "query 101", "key 30"]


def test_grouped_heads_read_and_are_read_by_the_right_ones(run):
    script = """const call = makeCall(3, 3, { groups: 3, head_numbers: [6, 7] }); return [keyValueHead({ call,
      batch: 0, head: 1 }), queryHead({ tensor: 'layers.0.k', head: 2 }, page.calls[call]),
      queryHead({ tensor: 'q', head: 2 }, page.calls[call])]"""
    assert run(script) == [2, 6, 2]
