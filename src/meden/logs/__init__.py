"""What other trainers wrote while they trained, as histories: lists, tables, and the files of their loggers."""

from meden.logs.log import Log as Log
from meden.logs.log import has_log as has_log
from meden.logs.log import read_logs as read_logs
