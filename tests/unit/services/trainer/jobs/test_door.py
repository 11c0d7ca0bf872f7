"""What is known before a job is queued is refused before it is queued, in words that help."""

from __future__ import annotations

import json
import shutil

import pytest

from halftone.core import errors, training
from halftone.registry.versions import Registry
from halftone.services.trainer.jobs import door
from halftone.services.trainer.loop.config import TrainingConfig
from halftone.services.trainer.loop.train import train
from tests.support.trainer.tiny_training import TINY
from tests.support.trainer.trainer_desk import spec, write_data_set


@pytest.fixture
def sets(tmp_path):
    return tmp_path / "sets"


def check(sets, *, archive="", **fields):
    """Check a job on the data sets of a folder, as the door does."""
    names = fields.pop("datasets", ["small"])
    parsed = training.parse_spec(spec(datasets=names, **fields))
    door.check_data_sets(parsed, paths=[sets / name for name in names], roots=[sets])
    if archive:
        door.check_archive(archive, path=sets / archive, roots=[sets])


def refusal(sets, **fields):
    with pytest.raises(errors.InvalidArgument) as caught:
        check(sets, **fields)
    assert str(sets) not in caught.value.message, "callers do not know the machine's paths"
    return caught.value


class TestGroups:
    @pytest.mark.parametrize("groups", [0, 1, 2])
    @pytest.mark.parametrize("objective", ["metric", "classification"])
    def test_too_few(self, sets, groups, objective):
        write_data_set(sets / "small", groups=groups)
        error = refusal(sets, objective=objective)
        assert (error.field, error.reason) == ("spec.datasets", "TOO_FEW_GROUPS")
        found = f"{groups} ({', '.join(['g0', 'g1'][:groups])})" if groups else "none"
        assert "at least 3 groups of two pictures, one of them for validation" in error.message
        assert f"the data sets have {found}." in error.message
        assert "column 'group'" in error.message

    def test_enough(self, sets):
        write_data_set(sets / "small", groups=3)
        check(sets, objective="metric")

    def test_without_validation_two_are_enough(self, sets):
        write_data_set(sets / "small", groups=2)
        check(sets, options={"validation_share": 0})
        write_data_set(sets / "less", groups=1)
        error = refusal(sets, datasets=["less"], options={"validation_share": 0})
        assert "at least 2 groups of two pictures, and" in error.message

    def test_of_several_data_sets_together(self, sets):
        for name in ("a", "b", "c"):
            write_data_set(sets / name, groups=1, pictures=200)
        check(sets, datasets=["a", "b", "c"])
        assert "have 2 (g0, g0)" in refusal(sets, datasets=["a", "b"]).message

    def test_of_another_column(self, sets):
        write_data_set(sets / "small", groups=1)
        assert "the column 'scene'" in refusal(sets, options={"group_column": "scene"}).message

    def test_that_share_a_picture_are_one(self, sets):
        write_data_set(sets / "small", groups=0)
        groups = [
            {"group": name, "members": members, "composite": False, "links": []}
            for name, members in (("a", ["p0", "p1"]), ("b", ["p1", "p2"]), ("c", ["p3", "p4"]))
        ]
        text = (sets / "small" / "manifest.csv").read_text().replace(",group\n", "\n")
        (sets / "small" / "manifest.csv").write_text(text.replace(",\n", "\n"))
        (sets / "small" / "groups.json").write_text(json.dumps(groups))
        assert "have 2 (a, c)" in refusal(sets).message

    def test_of_a_wide_table(self, sets):
        write_data_set(sets / "small", groups=0)
        table = sets / "small" / "sheet.csv"
        table.write_text("reference,similar\n" + "".join(f"{n}.jpg,{n}0.jpg\n" for n in (1, 2)))
        options = {"dimension": 2}
        assert "have 2 (" in refusal(sets, datasets=["small/sheet.csv"], options=options).message
        table.write_text(table.read_text() + "3.jpg,30.jpg\n")
        check(sets, datasets=["small/sheet.csv"], options=options)


class TestPictures:
    def test_too_few_for_the_projection_without_a_parent(self, sets):
        write_data_set(sets / "small", pictures=512)
        error = refusal(sets)
        assert (error.field, error.reason) == ("spec.datasets", "TOO_FEW_PICTURES")
        assert error.message.startswith(
            "There are 512 pictures; a first projection to 512 dimensions takes at least 513."
        )
        check(sets, parent="starter/1")
        check(sets, options={"dimension": 511})

    def test_too_few_for_a_batch_without_those_held_out(self, sets):
        write_data_set(sets / "small", pictures=79, groups=0)
        fields = {"objective": "self_supervised", "parent": "starter/1"}
        said = "There are 79 pictures, of which 15 are held out for validation; a batch of 65"
        assert refusal(sets, **fields, options={"batch": 65}).message.startswith(said)
        check(sets, **fields, options={"batch": 64})

    def test_none_is_there(self, sets):
        write_data_set(sets / "small")
        for path in (sets / "small").glob("*.jpg"):
            path.unlink()
        error = refusal(sets)
        assert error.field == "spec.datasets[0]"
        assert error.message == "None of the files that small/manifest.csv names is there."

    def test_all_lie_outside_the_roots(self, sets, tmp_path):
        write_data_set(tmp_path / "other")
        (sets / "small").mkdir(parents=True)
        rows = (tmp_path / "other" / "manifest.csv").read_text()
        (sets / "small" / "manifest.csv").write_text(rows.replace(",", ",../../other/", 1))
        assert refusal(sets).field == "spec.datasets[0]"

    def test_no_manifest(self, sets):
        write_data_set(sets / "a", groups=0)
        (sets / "b").mkdir()
        error = refusal(sets, datasets=["a", "b"])
        assert (error.field, error.reason) == ("spec.datasets[1]", "DATASET_NOT_FOUND")
        assert "b/manifest.csv is not there" in error.message

    def test_a_table_of_something_else(self, sets):
        (sets / "small").mkdir(parents=True)
        (sets / "small" / "manifest.csv").write_text("name,year\nx,1914\n")
        assert "small/manifest.csv has no column 'file'" in refusal(sets).message

    def test_a_large_set_is_left_to_the_worker(self, sets):
        """Reading its table would take longer than a caller waits."""
        write_data_set(sets / "small", groups=1)
        with (sets / "small" / "manifest.csv").open("ab") as file:
            file.truncate(2**21 + 1)
        check(sets)

    @pytest.mark.parametrize("together", [False, True])
    def test_many_rows_are_left_to_the_worker(self, sets, together):
        """Each costs a look at the disk, however short it is."""
        for name in ("small", "more"):
            write_data_set(sets / name, groups=1)
            with (sets / name / "manifest.csv").open("a") as file:
                file.writelines("x,,\n" for _ in range(3000 if together else 5001))
        check(sets, datasets=["small", "more"] if together else ["small"])
        if together:
            assert refusal(sets).reason == "TOO_FEW_GROUPS"
        else:
            check(sets, archive="more")

    def test_a_wide_table_in_a_large_folder_is_left_to_the_worker(self, sets):
        write_data_set(sets / "small", groups=0)
        (sets / "small" / "sheet.csv").write_text("1.jpg,2.jpg\n")
        assert refusal(sets, datasets=["small/sheet.csv"]).reason == "TOO_FEW_GROUPS"
        for number in range(5000):
            (sets / "small" / f"{number}.folder").mkdir()
        check(sets, datasets=["small/sheet.csv"])


class TestArchive:
    def test_one_to_evaluate_on(self, sets):
        write_data_set(sets / "small")
        write_data_set(sets / "archive", pictures=4, groups=1)
        check(sets, archive="archive")

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda path: (path / "manifest.csv").unlink(), "archive/manifest.csv is not there"),
            (
                lambda path: (path / "3.jpg").unlink(),
                "takes all of its pictures: p3: archive/3",
            ),
            (
                lambda path: (path / "manifest.csv").write_text("image_id,file\np0,0.jpg\n"),
                "nothing says which of its pictures are the same",
            ),
        ],
        ids=["no manifest", "a lost picture", "no groups"],
    )
    def test_one_that_cannot_be(self, sets, spoil, said):
        write_data_set(sets / "small")
        write_data_set(sets / "archive", pictures=4, groups=1)
        spoil(sets / "archive")
        error = refusal(sets, archive="archive")
        assert error.field == "spec.evaluation_archive"
        assert said in error.message


class CountingRegistry(Registry):
    """A registry that notes which versions are hashed."""

    def __init__(self, directory, *, hashed):
        super().__init__(directory)
        self.hashed = hashed

    def verify(self, version):
        self.hashed.append(version.id)
        super().verify(version)


class TestAtSubmission:
    """Nothing is recorded of a job that is refused."""

    @pytest.fixture
    def refused(self, desk):
        def submit(kind, **fields):
            with pytest.raises(kind) as caught:
                desk.submit(job_id="a", **fields)
            assert desk.queue.length() == 0
            with pytest.raises(errors.NotFound):
                desk.store.get("a")
            return caught.value

        return submit

    def test_a_data_set_of_one_group(self, desk, refused):
        write_data_set(desk.settings.data_roots[0] / "one", groups=1)
        assert refused(errors.InvalidArgument, datasets=["one"]).reason == "TOO_FEW_GROUPS"

    def test_an_archive_that_is_empty(self, desk, refused):
        (desk.settings.data_roots[0] / "empty").mkdir()
        error = refused(errors.InvalidArgument, evaluation_archive="empty")
        assert error.field == "spec.evaluation_archive"

    def test_a_parent_that_is_unknown_or_damaged(self, desk, refused, trained):
        assert "nobody/3" in refused(errors.NotFound, parent="nobody/3").message
        models = desk.settings.work_directory.parent / "models"
        shutil.copytree(trained, models)
        desk.submit(job_id="b", parent="parent/1")
        desk.take()
        weights = models / "parent" / "1" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        assert "parent/1" in refused(errors.DataLoss, parent="parent/1").message

    def test_a_parent_is_hashed_once_and_after_it_has_changed(self, desk, trained):
        models = desk.settings.work_directory.parent / "models"
        shutil.copytree(trained, models)
        hashed = []
        desk.intake._registry = CountingRegistry(models, hashed=hashed)
        for number in range(3):
            desk.submit(job_id=f"a{number}", parent="parent/1")
        assert hashed == ["parent/1"]
        weights = models / "parent" / "1" / "model.safetensors"
        content = weights.read_bytes()
        weights.unlink()
        weights.write_bytes(content)
        desk.submit(job_id="b", parent="parent/1")
        assert hashed == ["parent/1"] * 2

    def test_weights_that_are_not_there(self, desk, refused):
        changed = {"imagenet_weights": desk.settings.work_directory / "weights.pth"}
        desk.intake._settings = desk.settings.model_copy(update=changed)
        error = refused(errors.FailedPrecondition, initial_weights="imagenet")
        assert error.reason == "WEIGHTS_MISSING"

    def test_a_full_disk(self, desk, refused):
        desk.settings.work_directory.mkdir(exist_ok=True)
        desk.intake._settings = desk.settings.model_copy(update={"min_free_bytes": 2**60})
        assert "a job needs 1,099,511,627,776" in refused(errors.StorageFull).message


@pytest.mark.parametrize("groups", [2, 3])
def test_the_training_process_says_the_same(scenes, tmp_path, groups):
    """Of two groups there is none left for validation; three are enough for both."""
    folder = tmp_path / "sets" / "few"
    shutil.copytree(scenes, folder)
    rows = (folder / "manifest.csv").read_text().splitlines(keepends=True)
    (folder / "manifest.csv").write_text("".join(rows[: 1 + 4 * groups]))
    job = {"datasets": ["few"], "options": {"dimension": 4}}
    tiny = {**TINY, "dimension": 4, "background": 0, "per_group": 2, "steps": 1}
    config = TrainingConfig(
        **tiny, objective="metric", data=(folder,), models=tmp_path / "m", work=tmp_path / "w"
    )
    if groups == 2:
        refusal(tmp_path / "sets", **job)
        with pytest.raises(errors.InvalidArgument, match="left for validation"):
            train(config, log=lambda _line: None)
    else:
        check(tmp_path / "sets", **job)
        train(config, log=lambda _line: None)
