"""Write a model's report: one HTML page and its PNGs, readable without a server."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from halftone.evaluation.report import plots
from halftone.evaluation.report.calibration import calibration_section
from halftone.evaluation.report.page import Cell, ReportPicture, Section, Table, write_page
from halftone.evaluation.report.reading import reading_section
from halftone.evaluation.report.retrieval import (
    figure_cell,
    retrieval_sections,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from halftone.evaluation.judged import JudgedImages
    from halftone.vision.spec import ModelSpec

_MOST_ROWS: Final = 60
_MOST_CLASSES: Final = 24


def write_report(
    folder: Path,
    *,
    spec: ModelSpec,
    history: Sequence[Mapping[str, Any]],
    judged: Sequence[JudgedImages] = (),
    classification: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    balance: Mapping[str, Mapping[str, int]] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the report of a training run: `index.html` and its pictures.

    Args:
        folder: The report's folder, which is created.
        spec: The model's spec; its `training` names command, configuration and data.
        history: The entries of the progress lines; may be empty.
        judged: The judged images: the groups left out of training, and an archive, as far as there
            are any.
        classification: The result of `evaluate_classification`.
        calibration: The figures of `evaluation.calibration_samples.fit_held_out`.
        balance: The size of each group, by split.
        left_out: The images or files that the data's reader left out or remarked on, and why.
    """
    folder.mkdir(parents=True)
    sections = []
    for number, images in enumerate(judged):
        sections += retrieval_sections(folder, judged=images, prefix=f"r{number}")
    if judged:
        names = [name for images in judged for name in images.metrics]
        sections.insert(0, reading_section(judged[0].measured, names=names))
    if calibration is not None:
        sections.append(calibration_section(folder, fit=calibration))
    if classification is not None:
        sections += classification_sections(folder, figures=classification)
    if history:
        sections.append(_curves_section(folder, history=history))
    if balance or left_out:
        sections.append(data_section(folder, balance=balance or {}, left_out=left_out))
    training = dict(spec.training)
    sections.append(settings_section(training, parents=spec.parents))
    network = f"{spec.network.backbone}, {spec.preprocessing.size} px, {spec.dimension} dimensions"
    objective = str(training.get("objective", "")).replace("_", " ")
    subtitle = ", ".join(part for part in (network, objective, training.get("finished")) if part)
    write_page(folder, title=spec.name, subtitle=subtitle, sections=sections)


def write_evaluation(
    folder: Path,
    *,
    version: str,
    judged: JudgedImages,
    left_out: Sequence[tuple[str, str]],
    settings: Mapping[str, Any],
) -> None:
    """Write the report of `halftone eval` for one version.

    Args:
        folder: The report's folder, which is created.
        version: The version, as `name/number`.
        judged: The judged images of the archive.
        left_out: Images that could not be used, and why.
        settings: Everything needed to repeat the run: `command` and further facts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = [
        reading_section(judged.measured, names=judged.metrics),
        *retrieval_sections(folder, judged=judged, prefix="r0"),
    ]
    sections.append(data_section(folder, balance=group_sizes(judged), left_out=left_out))
    sections.append(settings_section(settings))
    subtitle = f"on {judged.name}, {judged.judgement.truth.count:,} pictures"
    write_page(folder, title=f"{version} on {judged.name}", subtitle=subtitle, sections=sections)


def classification_sections(folder: Path, *, figures: Mapping[str, Any]) -> list[Section]:
    """Return the sections on accuracy, classes and the most frequent mistakes."""
    columns = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
    }
    shown = sorted(figures["per_class"], key=lambda row: (row["recall"] is None, row["recall"]))
    shown = [row for row in shown if row["images"] or row["predicted"]]
    classes = [
        [row["name"], f"{row['images']:,}", f"{row['predicted']:,}"]
        + [
            Cell(text="-" if row[name] is None else f"{row[name]:.3f}")
            for name in ("precision", "recall", "f1")
        ]
        for row in shown[:_MOST_ROWS]
    ]
    more = f" Of {len(shown):,} the first {_MOST_ROWS}." if len(shown) > _MOST_ROWS else ""
    tables = [
        Table(
            head=["", *columns.values()],
            rows=[["this version", *(figure_cell(figures, name=name) for name in columns)]],
            caption="Below the figures 95 % intervals.",
        ),
        Table(
            head=["class", "pictures", "predicted", "precision", "recall", "F1"],
            rows=classes,
            caption=f"The classes that are found least come first.{more}",
        ),
    ]
    confused = figures["confused"]
    pictures = []
    names, matrix = _shown_classes(figures)
    if names:
        plots.confusion(folder / "confusion.png", matrix=matrix, names=names)
        which = "all classes" if len(names) == figures["classes"] else "the most confused classes"
        pictures.append(
            ReportPicture(
                file="confusion.png",
                alt=f"Confusion matrix of {which}; accuracy {figures['accuracy']:.3f}.",
                caption=f"Rows the truth, columns the prediction, {which}.",
            )
        )
    on = f", {figures['on']}" if figures.get("on") else ""
    mistakes = Table(
        head=["truth", "predicted", "pictures"],
        rows=[[row["truth"], row["predicted"], f"{row['images']:,}"] for row in confused[:15]],
        caption="The most frequent mistakes.",
    )
    return [
        Section(
            title="Classification",
            text=[f"{figures['images']:,} pictures of {figures['classes']:,} classes{on}."],
            tables=[*tables, *([mistakes] if confused else [])],
            pictures=pictures,
        )
    ]


def _shown_classes(
    figures: Mapping[str, Any], *, most: int = _MOST_CLASSES
) -> tuple[list[str], list[list[int]]]:
    """Return the names and the matrix of the classes; if there are many, of the most confused."""
    matrix = figures.get("confusion")
    if matrix is None:
        return [], []
    names = list(figures["names"])
    if len(names) > most:
        involved = [
            name for row in figures["confused"] for name in (row["truth"], row["predicted"])
        ]
        chosen = list(dict.fromkeys(involved))[:most]
    else:
        chosen = names
    places = [names.index(name) for name in chosen]
    return chosen, [[matrix[a][b] for b in places] for a in places]


def data_section(
    folder: Path,
    *,
    balance: Mapping[str, Mapping[str, int]],
    left_out: Sequence[tuple[str, str]],
) -> Section:
    """Return the section on the sizes of groups and on the pictures that were left out.

    Args:
        folder: The report's folder, which gets a diagram.
        balance: The size of each group, by split or archive.
        left_out: The images that were left out, and why.
    """
    rows, pictures = [], []
    for name, sizes in balance.items():
        values = np.array(list(sizes.values()) or [0])
        rows.append(
            [
                name,
                f"{len(sizes):,}",
                f"{values.sum():,}",
                f"{values.min():,}",
                f"{np.median(values):g}",
                f"{values.max():,}",
                f"{(values == 1).sum():,}",
            ]
        )
    tables = []
    if rows:
        head = ["split", "groups", "pictures", "smallest", "median", "largest", "groups of one"]
        tables.append(Table(head=head, rows=rows))
        plots.balance(folder / "balance.png", splits=balance)
        pictures.append(
            ReportPicture(
                file="balance.png",
                alt="Sizes of the groups of each split, falling.",
                caption="Pictures in each group, the largest group first.",
                wide=True,
            )
        )
    if left_out:
        more = len(left_out) - _MOST_ROWS
        tables.append(
            Table(
                head=["left out or noticed", "why"],
                rows=[list(entry) for entry in left_out[:_MOST_ROWS]],
                caption=f"And {more:,} more." if more > 0 else "",
                prose=True,
            )
        )
    text = [] if left_out else ["Nothing was left out."]
    return Section(title="Data", text=text, tables=tables, pictures=pictures)


def settings_section(settings: Mapping[str, Any], *, parents: Sequence[str] = ()) -> Section:
    """Return the section with everything that is needed to repeat the run."""
    left = dict(settings)
    code = []
    if left.get("command"):
        code.append(("Command", str(left.pop("command"))))
    if parents:
        code.append(("Started from", "\n".join(parents)))
    for name in ("configuration", "data"):
        if left.get(name):
            value = json.dumps(left.pop(name), indent=1, ensure_ascii=False)
            code.append((name.capitalize(), value))
    left.setdefault("python", platform.python_version())
    left.setdefault("numpy", np.__version__)
    rows = [
        [str(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
        for name, value in left.items()
        if value not in ("", None, {}, [])
    ]
    return Section(
        title="To repeat it",
        tables=[Table(head=["setting", "value"], rows=rows, prose=True)],
        code=code,
    )


def _curves_section(folder: Path, *, history: Sequence[Mapping[str, Any]]) -> Section:
    names = plots.curves(folder / "curves.png", history=history)
    last = history[-1]
    facts = [f"{last['epoch']:.1f} epochs"] if "epoch" in last else []
    facts += [f"{int(last['step']):,} steps"] if "step" in last else []
    facts += [f"{last['elapsed'] / 60:.0f} minutes"] if "elapsed" in last else []
    drawn = f", and {', '.join(names)} on the validation split" if names else ""
    picture = ReportPicture(
        file="curves.png", alt=f"The loss over epochs{drawn}.", caption="", wide=True
    )
    return Section(title="Training", text=[", ".join(facts) + "."], pictures=[picture])


def group_sizes(judged: JudgedImages) -> dict[str, dict[str, int]]:
    """Return the size of each group of an archive, for `data_section`."""
    groups = judged.judgement.truth.groups
    numbers, sizes = np.unique(groups[groups >= 0], return_counts=True)
    found = {str(number): int(size) for number, size in zip(numbers, sizes, strict=True)}
    return {judged.name: found} if found else {}
