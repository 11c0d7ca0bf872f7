"""Pictures to report on."""

import pytest

from tests.support.pictures.labelled_pictures import write_collection


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    """A folder with 40 pictures; 0 and 1 are printings of one picture in two journals."""
    folder = tmp_path_factory.mktemp("collection")
    write_collection(folder)
    return folder
