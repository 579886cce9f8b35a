"""Readers, encoders and folds: from what the user has to tensors, no held-out row seen."""

from meden.data.audio import LogMel as LogMel
from meden.data.audio import Recordings as Recordings
from meden.data.audio import read_wavs as read_wavs
from meden.data.batches import batches as batches
from meden.data.batches import epoch_permutation as epoch_permutation
from meden.data.batches import num_batches as num_batches
from meden.data.batches import watched_rows as watched_rows
from meden.data.dataset import Dataset as Dataset
from meden.data.dataset import as_dataset as as_dataset
from meden.data.encoders import Encoder as Encoder
from meden.data.files import BUNDLED as BUNDLED
from meden.data.files import read_table as read_table
from meden.data.images import ChannelScaler as ChannelScaler
from meden.data.images import read_images as read_images
from meden.data.splits import Fold as Fold
from meden.data.splits import holdout as holdout
from meden.data.splits import make_folds as make_folds
from meden.data.splits import splits_hash as splits_hash
from meden.data.targets import Predictions as Predictions
from meden.data.text import Vocabulary as Vocabulary
from meden.data.text import split_text as split_text
