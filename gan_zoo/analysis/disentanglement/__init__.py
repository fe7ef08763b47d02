"""How well single dimensions of a representation capture single ground-truth factors of a dataset.

Every metric is a function of codes [n, D] and factors [n, F], the representation and ground truth of n images:

- `groups`: factor_vae, beta_vae;
- `mutual_information_gap`: mig, modularity;
- `predictors`: sap, dci, explicitness;
- `measure`: all of them on a dataset, and the representation of a model.
"""

from gan_zoo.analysis.disentanglement.groups import beta_vae, factor_vae
from gan_zoo.analysis.disentanglement.measure import Represent, disentanglement, encoded, representation
from gan_zoo.analysis.disentanglement.mutual_information_gap import mig, modularity
from gan_zoo.analysis.disentanglement.predictors import DCI, dci, explicitness, sap

__all__ = [
    "DCI",
    "Represent",
    "beta_vae",
    "dci",
    "disentanglement",
    "encoded",
    "explicitness",
    "factor_vae",
    "mig",
    "modularity",
    "representation",
    "sap",
]
