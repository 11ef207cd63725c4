"""Pictures in one style: equal bytes for equal data, and literal text from files."""

import io

import numpy as np
import pytest
from PIL import Image

from foundation.common.output.pictures import drawing


def drawn(text="units", **settings):
    with drawing(3.0, 2.0, **settings) as sheet:
        axes = sheet.figure.add_subplot()
        axes.scatter(*np.random.default_rng(0).normal(size=(2, 200)), c=np.arange(200))
        axes.set_title(text)
    return sheet.content


@pytest.mark.parametrize("settings", [{}, {"palette": 48}, {"kind": "svg"}])
def test_equal_data_give_equal_bytes(settings):
    assert drawn(**settings) == drawn(**settings)
    assert drawn(**settings) != drawn("spikes", **settings)


def test_picture_has_the_requested_size():
    for settings in ({"dpi": 100}, {"dpi": 100, "palette": 16}):
        picture = Image.open(io.BytesIO(drawn(**settings)))
        assert picture.size == (300, 200)
    assert len(picture.convert("RGB").getcolors()) <= 16
    assert len(drawn(palette=48)) < len(drawn()) / 2


def test_dollar_sign_is_literal_unless_formulas_are_on():
    assert drawn(r"$\foo{$").startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="foo"):
        drawn(r"$\foo{$", formulas=True)
