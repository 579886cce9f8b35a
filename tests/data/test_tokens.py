"""Windows of a token file, against slices of the tokens in memory."""

import numpy as np
import pytest

import meden
from meden.data import Source, TokenFile


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("num_tokens", [9, 12, 13])
def test_windows_are_slices(tmp_path, dtype, num_tokens):
    tokens = (np.arange(num_tokens) * 4999).astype(dtype)
    tokens.tofile(tmp_path / "tokens.bin")
    source = TokenFile(tmp_path / "tokens.bin", 4, dtype=dtype)
    assert isinstance(source, Source) and len(source) == {9: 2, 12: 2, 13: 3}[num_tokens]
    ((x, y),) = source.read([range(len(source))])
    assert x.dtype == y.dtype and x.shape == y.shape == (len(source), 4)
    for window in range(len(source)):
        start = 4 * window
        assert x[window].tolist() == tokens[start : start + 4].tolist()
        assert y[window].tolist() == tokens[start + 1 : start + 5].tolist()


def test_bad_input_is_one_line(tmp_path):
    def file(content):
        (tmp_path / "tokens.bin").write_bytes(content)
        return tmp_path / "tokens.bin"

    for make, message in [
        (lambda: TokenFile(tmp_path / "none.bin", 4), "none.bin' cannot be read: No such file"),
        (lambda: TokenFile(file(b"odd"), 4), "must hold whole uint16 tokens, got 3 bytes"),
        (lambda: TokenFile(file(b""), 4), "must hold whole uint16 tokens, got 0 bytes"),
        (lambda: TokenFile(file(b"12345678"), 4), "must hold at least context [+] 1 = 5 tokens, got 4"),
        (lambda: TokenFile(file(b"12"), 0), "context must be a whole number of at least 1"),
        (lambda: TokenFile(file(b"12"), 1, dtype="int8"), "dtype must be one of uint16, uint32, got 'int8'"),
    ]:
        with pytest.raises(meden.InputError, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)
