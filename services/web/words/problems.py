"""Says in a reader's language what went wrong.

Services give a reason for programs and a sentence in English. The sentence of the catalogue is
found by the reason, or else by the kind of error, never by the English sentence. That one is the
detail: it names the field, the file or the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from halftone.core import errors
from halftone.rendering import texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halftone.services.web.words.languages import Language


class Problem(NamedTuple):
    """What went wrong, in words.

    Attributes:
        said: A sentence in the reader's language.
        detail: What a service says of it, in English; empty if that is no more.
    """

    said: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.said} {self.detail}" if self.detail else self.said


def explain(error: errors.HalftoneError, language: Language) -> Problem:
    """Return what an error says to a reader."""
    said = _find_by_reason(language).get(error.reason) or _find_by_kind(error, language)
    detail = texts.flatten(error.message)
    return Problem(said, "" if _says_the_same(detail, error.reason) else detail)


def _says_the_same(detail: str, reason: str) -> bool:
    """Return whether a detail is no more than the English sentence for its reason."""
    return not detail or detail == _find_by_reason(None).get(reason)


def _keep(text: str) -> str:
    return text


def _find_by_reason(language: Language | None) -> Mapping[str, str]:
    """Return the sentences by reason, in a language; None: as they are written."""
    _ = _keep if language is None else language.gettext
    return {
        # Pictures.
        "EMPTY": _("The file is empty."),
        "NOT_AN_IMAGE": _("This is not a picture."),
        "UNSUPPORTED_FORMAT": _("Pictures of this format are not read here."),
        "TRUNCATED": _("The file of this picture is cut off."),
        "CORRUPT": _("The file of this picture is damaged."),
        "IMAGE_REJECTED": _("This picture cannot be used."),
        "TOO_MANY_BYTES": _("That is too large."),
        "TOO_MANY_PIXELS": _("This picture has too many pixels."),
        "TOO_SMALL": _("This picture is too small to be searched by."),
        "ANIMATED": _("Moving pictures are not read here."),
        "REGION_OUTSIDE": _("This part lies outside of the picture."),
        # Records and manifests.
        "INVALID_DATE": _("This date is not understood. Write it as 1914, 1914-08 or 1914/1918."),
        "INVALID_NAME": _("This cannot be the name of a picture."),
        "DUPLICATE_ID": _("This image_id occurs twice in the manifest."),
        "MISSING_FILE": _("The file that the manifest names is not there."),
        "BAD_FILE": _("The file that the manifest names cannot be used."),
        "OUTSIDE_FOLDER": _("The manifest names a file outside of its folder."),
        "SYMBOLIC_LINK": _("The manifest names a link and not a file."),
        "MALFORMED_ROW": _("This row of the manifest cannot be read."),
        "MISSING_COLUMN": _("The manifest lacks a column."),
        "WRONG_ENCODING": _("The manifest is not written in UTF-8."),
        "CHANGED_MEANWHILE": _("This record was changed by somebody else meanwhile."),
        # Zip files, and files as they arrive.
        "ZIP_DAMAGED": _("This is no zip file, or it is damaged."),
        "ZIP_EMPTY": _("This zip file holds no files."),
        "ZIP_TOO_MANY_MEMBERS": _("This zip file holds more files than an import takes."),
        "ZIP_TOO_LARGE": _("There is not enough room for what this zip file holds."),
        "ZIP_RATIO": _("It would grow far more than pictures do."),
        "ZIP_LINK": _("It is a link or a device and no file."),
        "ZIP_NAME": _("Its name leads out of the zip file, or cannot be a file's name."),
        "ZIP_ENCRYPTED": _("It is protected by a password."),
        "ZIP_NESTED": _(
            "It is a zip file inside a zip file, which is not opened. Unpack it first."
        ),
        "ZIP_METHOD": _(
            "It is packed in a way that is not read here. Pack it with the usual settings."
        ),
        "ZIP_DUPLICATE": _("There is another file or folder of this name."),
        "ZIP_MEMBER_DAMAGED": _("It is damaged: it does not unpack to what the zip file says."),
        "BAD_FILE_NAME": _("This cannot be a file's name."),
        "NO_FILES": _("Choose files first."),
        "TOO_MANY_FILES": _("These are more files than an import from this page takes."),
        "BAD_ARCHIVE_NAME": _(
            "An archive's name is made of letters from a to z, digits, dots, dashes and "
            "underscores, at most 63, and begins with a letter or a digit."
        ),
        "IMPORT_UNKNOWN": _(
            "This import is not known. The page remembers its last imports only; the records that "
            "it had imported stay."
        ),
        "IMPORT_STARTED": _("This import has been started already."),
        # Searches and comparisons.
        "UPLOAD_GONE": _(
            "This picture is not kept here any more. Drop it again, and this address works again."
        ),
        "ONE_PICTURE": _("This is one picture, not two."),
        "NOTHING_IN_COMMON": _(
            "The two pictures have so little in common that a search does not find one by the "
            "other."
        ),
        "BAD_REGION": _("A part of a picture is four whole numbers: x,y,width,height."),
        "BAD_LABEL": _("A label is written as key=value."),
        "MODEL_VERSION_MISMATCH": _(
            "Another model version answers now, so this page of the results is gone. Search again."
        ),
        # Addresses and forms.
        "NO_PAGE": _("There is no page at this address."),
        "WRONG_METHOD": _("This address is not called in that way."),
        "BAD_FORM": _("This form cannot be read."),
        # Who may do what.
        "FORM_TOKEN": _(
            "This form is too old, or cookies are switched off. Load the page again and repeat "
            "what you did."
        ),
        "FOREIGN_ORIGIN": _("Another site sent this form."),
        "MISSING_SCOPE": _("Your key does not allow this."),
        "SERVICE_KEY": _("The services do not accept the key of this page."),
        # The state of the services.
        "TOO_MANY_SEARCHES": _("Too many searches at a time. Try again in a moment."),
        "TOO_MANY_IMPORTS": _("Too many imports at a time. Try again in a moment."),
        "QUEUE_FULL": _("Too much is waiting already. Try again in a moment."),
        "STORAGE_FULL": _("The disk is full."),
        "DRAINING": _("A service is shutting down. Try again in a moment."),
        "NO_MODEL": _("No model version is loaded yet. Try again in a moment."),
        "BROKER_UNAVAILABLE": _("The queue of training jobs does not answer."),
        # Jobs.
        "VERSION_WORSE": _("The version finds less than the one that answers."),
        "VERSION_ACTIVE": _("This version answers already."),
        "PROMOTION_RUNNING": _("Another change of the version is under way."),
        "PROMOTION_ENDED": _("The change of the version is over already."),
        "NO_PREVIOUS_VERSION": _("No other version answered before."),
        "MODEL_NOT_LOADED": _("The embedder cannot load this version."),
        "CLUSTER_JOB_ENDED": _("This job is over already."),
        "JOB_OVER": _("This job is over already."),
        "TRAINING_CRASHED": _("The training crashed."),
        "TRAINING_KILLED": _("The training was ended by the system, mostly for lack of memory."),
        "JOB_TIME_LIMIT": _("The job took longer than it may."),
        "DATASET_NOT_FOUND": _("The data set is not there."),
        "TOO_FEW_PICTURES": _("There are too few pictures to learn from."),
        "TOO_FEW_GROUPS": _("There are too few groups of pictures to learn from."),
    }


def _find_by_kind(error: errors.HalftoneError, language: Language) -> str:
    """Return the sentence for the kind of an error, which is that of its gRPC code."""
    _ = language.gettext
    kinds = (
        (errors.InvalidArgument, _("Something in the address or the form is wrong.")),
        (errors.NotFound, _("This is not here, or not any more.")),
        (errors.AlreadyExists, _("This is there already.")),
        (errors.Unauthenticated, _("The key is missing, or does not hold any more.")),
        (errors.PermissionDenied, _("This may not be seen or done.")),
        (errors.FailedPrecondition, _("This does not go as things stand.")),
        (errors.ResourceExhausted, _("Too much at a time. Try again in a moment.")),
        (errors.Unavailable, _("A service does not answer. Try again in a moment.")),
        (errors.DeadlineExceeded, _("The answer took too long. Try again in a moment.")),
        (errors.Cancelled, _("This was cancelled.")),
        (errors.DataLoss, _("Stored data is damaged; the operator has to look at it.")),
    )
    internal = _("Something went wrong here, which is a bug. The log has it.")
    return next((said for kind, said in kinds if isinstance(error, kind)), internal)
