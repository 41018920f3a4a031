"""Data that does not lie on this machine: how places are named, what object storage holds, and the shelf of local
copies."""

from fastgoal.remote.place import Place, Url, place_of, relative
from fastgoal.remote.shelf import local, opened

__all__ = ["Place", "Url", "local", "opened", "place_of", "relative"]
