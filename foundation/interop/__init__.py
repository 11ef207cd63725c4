"""Recordings for other programs: pynapple, torch_brain, NWB. The optional packages are imported when needed."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.interop.nwb_export import to_nwb
    from foundation.interop.pynapple_export import to_pynapple
    from foundation.interop.torch_brain_export import to_torch_brain

__all__ = ["to_nwb", "to_pynapple", "to_torch_brain"]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.interop.nwb_export": ["to_nwb"],
        "foundation.interop.pynapple_export": ["to_pynapple"],
        "foundation.interop.torch_brain_export": ["to_torch_brain"],
    },
)
