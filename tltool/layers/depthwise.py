"""The old place of `quickened`: it is in tltool/layers/quickened.py."""

from tltool.layers.quickened import quickened as quickened
