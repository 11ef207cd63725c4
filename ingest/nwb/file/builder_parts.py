"""Find and remove parts of a file in hdmf's tree of builders."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from hdmf.build import Builder, BuildManager, DatasetBuilder, GroupBuilder, LinkBuilder, ReferenceBuilder

from foundation.common.errors import SourceError
from ingest.nwb.read_log import is_damage, reason

AnyBuilder: TypeAlias = GroupBuilder | DatasetBuilder


@dataclass(frozen=True)
class Unread:
    """An object of a file that could not be read.

    Args:
        path: its path, for example ``units/depth``; ``@name`` at the end for an attribute.
        why: what is wrong with it.
        holder: the group (for an attribute, the object) that contains it.
    """

    path: str
    why: str
    holder: AnyBuilder


class PartError(SourceError):
    """The failure to construct one object of a file.

    Args:
        builder: the object.
        error: what went wrong.
    """

    def __init__(self, builder: AnyBuilder, error: Exception) -> None:
        super().__init__(f"{path_of(builder)}: {reason(error)}")
        self.builder, self.error = builder, error


class PartManager(BuildManager):
    """A `BuildManager` that names the object it cannot construct."""

    def __init__(self, types: Any) -> None:
        super().__init__(types)
        self._under_way: list[Builder] = []

    def construct(self, builder: Any) -> Any:
        """Return the container of a builder.

        Raises:
            PartError: naming the innermost builder that fails.
        """
        if isinstance(builder, LinkBuilder):
            builder = builder.builder
        if any(builder is one for one in self._under_way):
            raise ValueError(f"a link to {path_of(builder)}, which contains it")
        self._under_way.append(builder)
        try:
            return super().construct(builder)
        except PartError:
            raise
        except Exception as error:  # pynwb, hdmf, h5py and extensions each have their own errors
            if not is_damage(error):
                raise
            raise PartError(builder, error) from error
        finally:
            self._under_way.pop()

    def is_a(self, builder: Any, neurodata_type: str) -> bool:
        """Return whether a builder is of a type, or of one derived from it; False for unknown types."""
        try:
            return bool(self.is_sub_data_type(builder, neurodata_type))
        except Exception:  # a missing type raises KeyError or ValueError or gives None, depending on the place
            return False


def path_of(builder: Builder) -> str:
    """Return the path of a builder, for example ``units/depth``; ``''`` for the file itself."""
    return str(builder.path).removeprefix("root").strip("/")


def refuse_circle(target: Builder, holder: Builder) -> None:
    """Raise if a link's target contains the link.

    Raises:
        SourceError: naming the target.
    """
    here: Builder | None = holder
    while here is not None:
        if here is target:
            raise SourceError(f"a link to {path_of(target) or 'the file itself'}, which contains it")
        here = here.parent


def walk(builder: GroupBuilder) -> Iterator[AnyBuilder]:
    """Yield every group and dataset below a builder, parents first; links are not followed."""
    for child in [*builder.groups.values(), *builder.datasets.values()]:
        yield child
        if isinstance(child, GroupBuilder):
            yield from walk(child)


def is_inside(builder: AnyBuilder, doomed: Container[int]) -> bool:
    """Return whether a builder or one of its parents has one of these ids (as of `id`)."""
    here: Builder | None = builder
    while here is not None:
        if id(here) in doomed:
            return True
        here = here.parent
    return False


def take_out(root: GroupBuilder, *builders: AnyBuilder) -> None:
    """Remove builders and all links and attributes that refer to them, in one walk of the tree."""
    if not builders:
        return
    gone = {id(builder) for builder in builders}
    for holder in [root, *walk(root)]:
        _forget(holder.attributes, holder, gone)
        if isinstance(holder, GroupBuilder):
            for members in (holder.groups, holder.datasets, holder.links):
                _forget(members, holder, gone)


def remove(holder: GroupBuilder, name: str) -> None:
    """Remove a member or an attribute of a group by its name."""
    for members in (holder.groups, holder.datasets, holder.links, holder.attributes):
        members.pop(name, None)
    holder.obj_type.pop(name, None)


def _forget(members: dict[str, Any], holder: AnyBuilder, gone: set[int]) -> None:
    for name, member in list(members.items()):
        target = member.builder if isinstance(member, LinkBuilder | ReferenceBuilder) else member
        if id(target) in gone:
            del members[name]
            if isinstance(holder, GroupBuilder):
                holder.obj_type.pop(name, None)
