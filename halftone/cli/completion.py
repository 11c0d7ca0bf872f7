"""`halftone completion`: what makes a shell complete commands, options and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click import shell_completion

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM: Final = "halftone"
_SHELLS: Final = {
    "bash": shell_completion.BashComplete,
    "zsh": shell_completion.ZshComplete,
    "fish": shell_completion.FishComplete,
}
# Click asks the program by this variable, whose name it makes from that of the program.
_VARIABLE: Final = "_HALFTONE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(*, shell: str) -> None:
    """Print a script that makes a shell complete commands, options and files.

    Bash, in ~/.bashrc: eval "$(halftone completion bash)"

    zsh, in ~/.zshrc after compinit: eval "$(halftone completion zsh)"

    fish: halftone completion fish > ~/.config/fish/completions/halftone.fish
    """
    root = click.get_current_context().find_root().command
    click.echo(_SHELLS[shell](root, {}, _PROGRAM, _VARIABLE).source())


def complete_files(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> Sequence[shell_completion.CompletionItem]:
    """Have the shell complete files, for an argument that is a file or something else."""
    return [shell_completion.CompletionItem(incomplete, type="file")]
