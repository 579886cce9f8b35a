"""What scikit-learn's selectors of columns can do, for estimators that also predict: there only if it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted


def _selects(estimator: Any) -> bool:
    return estimator.select is not None


class Selector(SelectorMixin, auto_wrap_output_keys=None):  # type: ignore[misc,call-arg]
    """Methods of a selector by the mask ``support_``; an estimator whose ``select`` is None has none of them."""

    select: str | None
    support_: NDArray[np.bool_]

    get_support = available_if(_selects)(SelectorMixin.get_support)
    transform = available_if(_selects)(SelectorMixin.transform)
    fit_transform = available_if(_selects)(SelectorMixin.fit_transform)
    inverse_transform = available_if(_selects)(SelectorMixin.inverse_transform)
    get_feature_names_out = available_if(_selects)(SelectorMixin.get_feature_names_out)

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.select is None:
            tags.transformer_tags = None
        return tags
