"""The screen of `wexport browse`: models at the left, tensors of one at the right, below them the one looked at."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.markup import escape
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import DataTable, Footer, Input, Static

from wexport.browsing.detail import detail
from wexport.browsing.held import Held
from wexport.errors import WexportError
from wexport.terminal import tables
from wexport.terminal.text import counted, safe

ROOMY, NARROW = 110, 14
"""On screens of fewer columns than the first, a layer's name has so many characters: what it holds must be seen."""
MARK = "\N{BLACK CIRCLE}"


class Browser(App[None]):
    """Looks through a table. held: its session. table: what it is called."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #models, #tensors, #detail {border: round $foreground 40%; border-title-color: $foreground}
    #models {width: 34%; min-width: 24; height: 100%}
    #models:focus, #tensors:focus, #detail:focus {border: round $accent}
    #right {width: 1fr}
    #tensors {height: 1fr}
    #detail {height: 1fr; padding: 0 1}
    #find {display: none; height: 3}
    #find.shown {display: block}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "next pane", priority=True),
        Binding("space", "mark", "mark a model"),
        Binding("slash", "find", "find a slot"),
        Binding("escape", "leave", "all slots"),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, held: Held, table: str) -> None:
        super().__init__()
        self._held, self._table = held, table
        self._models = held.models()
        self.marked: list[str] = []
        """The models that were marked, two at most."""
        self._model = self._models[0]["model"] if self._models else ""
        self._slot = ""
        self._wanted = ""

    def compose(self) -> ComposeResult:
        """The panes."""
        with Horizontal():
            yield DataTable(id="models", cursor_type="row")
            with Vertical(id="right"):
                yield Input(placeholder="part of a slot, such as kernel", id="find")
                yield DataTable(id="tensors", cursor_type="row")
                with VerticalScroll(id="detail"):
                    yield Static(id="shown")
        yield Footer()

    def on_mount(self) -> None:
        """Fill the panes."""
        models: DataTable[Text] = self.query_one("#models", DataTable)
        models.border_title = _title(f"{counted(len(self._models), 'model')} of {self._table}")
        for key, title in (("mark", " "), ("model", "model"), ("found", "found"), ("parameters", "parameters")):
            models.add_column(title, key=key)
        for number, row in enumerate(self._models):
            models.add_row(
                Text(""), Text(safe(row["model"])), Text(safe(row["found"] or "")),
                Text(f"{row['parameters'] or 0:,}", justify="right"), key=str(number),
            )  # fmt: skip
        models.focus()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show what the cursor is on."""
        key = event.row_key.value if event.row_key else None
        if key is None:
            return
        if event.data_table.id == "models":
            self._model = self._models[int(key)]["model"]
            self._show_tensors()
        else:
            self._slot = self._rows[int(key)]["slot"]
            self._show_detail()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter goes on to the next pane."""
        self.query_one("#tensors" if event.data_table.id == "models" else "#detail").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Only the slots that hold what is written."""
        self._wanted = event.value
        self._show_tensors()

    def on_input_submitted(self) -> None:
        """Enter goes to what was found."""
        self.query_one("#tensors").focus()

    def action_mark(self) -> None:
        """Mark the model under the cursor, or take its mark away; of three, the first loses its own."""
        if not self._model:
            return
        if self._model in self.marked:
            self.marked.remove(self._model)
        else:
            self.marked = [*self.marked[-1:], self._model]
        models: DataTable[Text] = self.query_one("#models", DataTable)
        for number, row in enumerate(self._models):
            models.update_cell(str(number), "mark", Text(MARK if row["model"] in self.marked else ""))
        self._show_detail()

    def action_find(self) -> None:
        """Ask for a part of a slot."""
        find = self.query_one("#find", Input)
        find.add_class("shown")
        find.focus()

    def action_leave(self) -> None:
        """Show all slots again."""
        find = self.query_one("#find", Input)
        find.value = ""
        find.remove_class("shown")
        self.query_one("#tensors").focus()

    @property
    def compared(self) -> list[str]:
        """The models that stand side by side: both that are marked, else the one that the cursor is on."""
        return self.marked if len(self.marked) == 2 else [self._model]

    def _show_tensors(self) -> None:
        pane: DataTable[Text] = self.query_one("#tensors", DataTable)
        try:
            rows = self._held.tensors(self._model)
        except WexportError as error:
            self._tell(error)
            return
        self._rows = [row for row in rows if self._wanted.lower() in row["slot"].lower()]
        pane.border_title = _title(f"{self._model}: {len(self._rows):,} of {counted(len(rows), 'tensor')}")
        pane.clear(columns=True)
        for title in ("layer", "role", "shape", "std", "zeros", "class"):
            pane.add_column(title, key=title)
        before = None
        for number, row in enumerate(self._rows):
            layer = "" if row["layer"] == before else row["layer"]
            before = row["layer"]
            cells = _cells(row, layer, NARROW if self.size.width < ROOMY else len(layer))
            pane.add_row(*(Text(safe(cell)) for cell in cells), key=str(number))
        place = next((number for number, row in enumerate(self._rows) if row["slot"] == self._slot), 0)
        pane.move_cursor(row=place)
        self._slot = self._rows[place]["slot"] if self._rows else ""
        self._show_detail()

    def _show_detail(self) -> None:
        pane = self.query_one("#detail", VerticalScroll)
        shown = self.query_one("#shown", Static)
        pane.border_title = _title(self._slot)
        if not self._slot:
            shown.update(Text("no slot has that in its name" if self._wanted else "no tensors"))
            return
        try:
            sides = [(model, self._held.tensor(model, self._slot)) for model in self.compared]
        except WexportError as error:
            self._tell(error)
            return
        shown.update(detail(sides, max(pane.size.width - 3, 30)))

    def on_resize(self) -> None:
        """Histograms are as wide as there is room."""
        if self._slot:
            self.call_after_refresh(self._show_detail)

    def _tell(self, error: WexportError) -> None:
        self.notify(safe(error), severity="error", markup=False)


def _cells(row: dict[str, Any], layer: str, room: int) -> list[str]:
    role = " ".join(word for word in (row["direction"], row["role"], row["gate"]) if word)
    zeros = "" if row["zero_fraction"] is None else f"{100 * row['zero_fraction']:.1f} %"
    broken = f"{row['broken']:,} NaN or Inf" if row["broken"] else zeros
    shown = layer if len(layer) <= room else f"{layer[: room - 5]}\N{HORIZONTAL ELLIPSIS}{layer[-4:]}"
    return [shown, role, row["shape"], tables.cell_text(row["std"]), broken, row["layer_class"] if layer else ""]


def _title(text: str) -> str:
    """Names as they are: a title is markup."""
    return escape(safe(text))
