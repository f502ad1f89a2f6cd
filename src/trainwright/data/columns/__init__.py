"""What is known of a dataset's columns, and all that depends on the kind of one.

An example is a mapping of named columns: an image and a class, the numbers of a table's row and a
value, a window of tokens. A column's spec owns how it is stored, how a stored batch becomes what a
network sees, how a person's input becomes it, how it is shown, and what a checkpoint remembers.
"""

from trainwright.data.columns.column import BadInputError, Column, Scaled, Scaling, without
from trainwright.data.columns.inputs import Image
from trainwright.data.columns.series import Series
from trainwright.data.columns.stored import MOST_NUMBERS, column_of
from trainwright.data.columns.tables import MISSING, UNSEEN, Categories, Numbers
from trainwright.data.columns.targets import Classes, Labels, Target, Values
from trainwright.data.columns.tokens import PADDING, Tokens

__all__ = [
    "MISSING",
    "MOST_NUMBERS",
    "PADDING",
    "UNSEEN",
    "BadInputError",
    "Categories",
    "Classes",
    "Column",
    "Image",
    "Labels",
    "Numbers",
    "Scaled",
    "Scaling",
    "Series",
    "Target",
    "Tokens",
    "Values",
    "column_of",
    "without",
]
