"""How well single dimensions of a representation tell single factors of a set whose ground truth is known.

Every metric is a function of codes [n, D] and factors [n, F], the same n images' representation and ground truth:

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
