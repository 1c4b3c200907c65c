"""Parameters of tables and figures, and the schema of the published numbers shown beside ours."""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema
from favae.config.errors import closest

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
RowReference = Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$", description="<published table>/<row>")]
CellReference = Annotated[str, Field(pattern=r"^[a-z_]+/[a-z0-9_-]+$", description="<stage>/<cell>")]
Number = Annotated[float, Field(strict=True)]


class PublishedColumn(Schema):
    """The metric of a column of a published table."""

    metric: str
    better: Literal["lower", "higher"]
    unit: str = ""


class PublishedRow(Schema):
    """One row: a value for every column of its table, null if no source gives it."""

    label: str
    values: dict[str, Number | None] = Field(default_factory=dict)
    doubt: str | None = None


class PublishedTable(Schema):
    """A table or figure of a paper. `source` is where the numbers were read; `doubts` are reasons to mistrust them.

    `columns` is empty if no source gives the metrics of the table.
    """

    paper: Name
    title: str
    source: str
    doubts: tuple[str, ...] = ()
    columns: dict[Name, PublishedColumn]
    rows: Annotated[dict[Name, PublishedRow], Field(min_length=1)]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, row in self.rows.items():
            if set(row.values) != set(self.columns):
                raise ValueError(
                    f"rows.{name}.values has the keys {sorted(row.values)}, expected the columns "
                    f"{sorted(self.columns)}: write null for a value that is not reported"
                )
        return self


class Published(Schema):
    """`params/published.yaml`: numbers of the papers. They are shown beside ours and are never a result."""

    papers: dict[Name, str]
    tables: dict[Name, PublishedTable]

    @model_validator(mode="after")
    def _papers_known(self) -> Self:
        for name, table in self.tables.items():
            if table.paper not in self.papers:
                raise ValueError(f"tables.{name}.paper: no paper {table.paper!r}; {closest(table.paper, self.papers)}")
        return self

    def find(self, reference: str) -> tuple[PublishedTable, PublishedRow]:
        """Table and row of `<table>/<row>`. Raises ValueError with the closest names."""
        name, _, row = reference.partition("/")
        if name not in self.tables:
            raise ValueError(f"no published table {name!r}; {closest(name, self.tables)}")
        table = self.tables[name]
        if row not in table.rows:
            raise ValueError(f"no row {row!r} in the published table {name!r}; {closest(row, table.rows)}")
        return table, table.rows[row]


class RowNames(Schema):
    """Names of a row of a recipe in tables and figures (`_rows` of the recipe file).

    `short` is used in figures, where `label` is too long. `published` is the name of its row in a published table.
    """

    label: str = ""
    short: str = ""
    published: str = ""


class TableRowConfig(Schema):
    """A row of our table: the published row beside it, and the evaluation that measured it (null: not run).

    `cells` instead of `cell` lists several trainings of one recipe that differ in their seed; the table shows their mean
    and spread. `guidance` selects one of the guidance scales at which a generation was measured.
    """

    label: str
    published: RowReference | None = None
    cell: CellReference | None = None
    cells: Annotated[tuple[CellReference, ...], Field(min_length=2)] | None = None
    guidance: NonNegative | None = None

    @model_validator(mode="after")
    def _guidance_fits(self) -> Self:
        generation = (self.cell or "").startswith("generate_images/")
        if generation != (self.guidance is not None):
            raise ValueError(f"guidance must be given exactly for cells of generate_images; the cell is {self.cell!r}")
        if self.cells and self.cell:
            raise ValueError("give either cell or cells")
        if self.cells and len(set(self.cells)) < len(self.cells):
            raise ValueError(f"cells has duplicates: {list(self.cells)}")
        return self

    @property
    def measured_by(self) -> tuple[str, ...]:
        """The evaluations that measured the row; empty if it was not run."""
        return self.cells or ((self.cell,) if self.cell else ())

    def key(self, metric: str) -> str:
        """Name of a metric in the `metrics.json` of the row's cell."""
        return metric if self.guidance is None else f"{metric}_guidance{self.guidance:g}"


class GainConfig(Schema):
    """How much better a row is than another."""

    row: str
    over: str


class ClaimConfig(Schema):
    """A claim of a paper about its table, checked on our numbers below the table. One of three forms:

    - `better_than`: the row is better than each of these in the metric.
    - `like` and `margin`: it is neither better nor worse than each of these by `margin`, in the metric's unit.
    - `over` and `than_gain`: what it gains over the row `over` is more than another gain.
    """

    text: str
    metric: str
    row: str
    better_than: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    margin: Annotated[float, Field(gt=0)] | None = None
    over: str | None = None
    than_gain: GainConfig | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [bool(self.better_than), bool(self.like), self.over is not None]
        whole = bool(self.like) == (self.margin is not None) and (self.over is None) == (self.than_gain is None)
        if sum(forms) != 1 or not whole:
            raise ValueError(
                f"the claim {self.text!r} needs one of: better_than; like and margin; over and than_gain; give the keys of one"
            )
        return self

    @property
    def rows(self) -> set[str]:
        """Labels of all rows that the claim names."""
        gain = {self.over, self.than_gain.row, self.than_gain.over} if self.over and self.than_gain else set()
        return {self.row, *self.better_than, *self.like, *gain}


class TableConfig(Schema):
    """One table. `published_columns` maps a metric of ours to the published column shown beside it.

    `comparable: false` shows no differences, because data, sizes or protocol are not those of the published rows; `note`
    gives the reason.
    """

    id: Name
    title: str
    note: str = ""
    comparable: bool
    columns: Annotated[list[str], Field(min_length=1)]
    published_columns: dict[str, Name] = Field(default_factory=dict)
    rows: Annotated[list[TableRowConfig], Field(min_length=1)]
    claims: tuple[ClaimConfig, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if strangers := sorted(set(self.published_columns) - set(self.columns)):
            raise ValueError(f"published_columns has {strangers[0]!r}, which is not in columns {self.columns}")
        for values, what in ((self.columns, "columns"), ([row.label for row in self.rows], "labels of rows")):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} have duplicates: {values}")
        if not self.comparable and not self.note:
            raise ValueError("comparable: false needs a reason; give it in note")
        for row in self.rows:
            if not row.measured_by and row.published is None:
                raise ValueError(f"the row {row.label!r} has neither a cell nor a published row")
        return self

    @model_validator(mode="after")
    def _claims_fit(self) -> Self:
        labels = [row.label for row in self.rows]
        for claim in self.claims:
            if unknown := sorted(claim.rows - set(labels)):
                raise ValueError(f"a claim names the unknown row {unknown[0]!r}; {closest(unknown[0], labels)}")
            if claim.metric not in self.columns:
                raise ValueError(f"a claim is about {claim.metric!r}, which is not in columns {self.columns}")
        return self


class TablesConfig(Schema):
    """Parameters of the stage `make_tables`.

    `size`: whether the scale has the size of the paper, is smaller, or measures what its authors `released`, which reproduces nothing.
    """

    size: Literal["paper", "small", "released"] = "small"
    tables: list[TableConfig]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _check_distinct([table.id for table in self.tables], "tables")
        return self

    def disagreements(self, published: Published, cells: Collection[str]) -> Iterator[str]:
        """One sentence per reference to a published row, a published column or a cell that does not exist.

        `cells` are the names `<stage>/<cell>` of the evaluations at the scale.
        """
        for table in self.tables:
            where = f"table {table.id!r}"
            known: set[str] = set()
            for row in table.rows:
                for cell in row.measured_by:
                    if cell not in cells:
                        yield f"{where}, row {row.label!r}: no cell {cell!r}; {closest(cell, sorted(cells))}"
                try:
                    known |= set(published.find(row.published)[0].columns) if row.published else set()
                except ValueError as error:
                    yield f"{where}, row {row.label!r}: {error}"
            for metric, column in table.published_columns.items():
                if column not in known:
                    near = closest(column, sorted(known))
                    yield f"{where}: published_columns: {metric}: no column {column!r} in its published rows; {near}"


FigureKind = Literal[
    "reconstructions", "spectrum_error", "spectra", "learning_curves", "sigma", "samples", "drawn", "latent_grid"
]
FIGURE_STAGES: dict[FigureKind, tuple[str, ...]] = {
    "reconstructions": ("evaluate_reconstruction", "evaluate_generator"),
    "spectrum_error": ("evaluate_reconstruction", "evaluate_generator"),
    "spectra": ("evaluate_reconstruction", "evaluate_generator"),
    "learning_curves": ("train_autoencoder", "train_cat"),
    "sigma": ("train_autoencoder",),
    "samples": ("generate_images",),
    "drawn": ("evaluate_reconstruction", "evaluate_generator"),
    "latent_grid": ("evaluate_reconstruction",),
}


# Losses that a figure of learning curves shows.
CURVES = ("l1", "lpips", "image_ffl", "cross_entropy")
# Figures that show photographs of the data set.
OF_PHOTOGRAPHS: tuple[FigureKind, ...] = ("reconstructions", "samples")
# Figures in which a curve can be the mean of several trainings.
AVERAGED: tuple[FigureKind, ...] = ("spectrum_error", "spectra", "learning_curves")


class SeriesConfig(Schema):
    """One curve, or one row of images: its cell and its label. Curves with the same `panel` share an axis.

    `cells` instead of `cell` lists several trainings of one recipe that differ in their seed; the curve is their mean, and
    a band around it is the interval of the mean.
    """

    label: str
    cell: CellReference | None = None
    cells: Annotated[tuple[CellReference, ...], Field(min_length=2)] | None = None
    panel: str = ""

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.cell is None) == (self.cells is None):
            raise ValueError("give either cell or cells")
        return self

    @property
    def runs(self) -> tuple[str, ...]:
        """The cells that are drawn, at least one."""
        return self.cells or ((self.cell,) if self.cell else ())

    @property
    def run(self) -> str:
        """The cell, or the first of several."""
        return self.runs[0]


class FigureConfig(Schema):
    """One figure; `examples` is the number of images, for kinds of figures that show images."""

    id: Name
    kind: FigureKind
    title: str
    series: Annotated[list[SeriesConfig], Field(min_length=1)]
    examples: Positive = 5

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        allowed = FIGURE_STAGES[self.kind]
        for series in self.series:
            for cell in series.runs:
                if cell.partition("/")[0] not in allowed:
                    raise ValueError(
                        f"a figure of kind {self.kind!r} needs cells of {' or '.join(allowed)}, found {cell!r}"
                    )
            if series.cells and self.kind not in AVERAGED:
                raise ValueError(f"a figure of kind {self.kind!r} shows one training; give cell instead of cells")
        return self


class FigureStyleConfig(Schema):
    """Style of all figures. Width in inches, font size in points; `palette` is a seaborn palette."""

    palette: str = "colorblind"
    dpi: Positive = 160
    width: Annotated[float, Field(gt=2, le=40)] = 10.0
    font_size: Annotated[float, Field(gt=0)] = 10.0


class FiguresConfig(Schema):
    """Parameters of the stage `make_figures`."""

    style: FigureStyleConfig = FigureStyleConfig()
    figures: list[FigureConfig]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _check_distinct([figure.id for figure in self.figures], "figures")
        return self

    def disagreements(self, cells: Collection[str]) -> Iterator[str]:
        """One sentence per reference to a cell (`<stage>/<cell>`) that does not exist."""
        for figure in self.figures:
            for series in figure.series:
                for cell in series.runs:
                    if cell not in cells:
                        near = closest(cell, sorted(cells))
                        yield f"figure {figure.id!r}, {series.label!r}: no cell {cell!r}; {near}"


def _check_distinct(names: list[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two {what} have the id {twice[0]!r}; ids must be unique, because they are file names")
