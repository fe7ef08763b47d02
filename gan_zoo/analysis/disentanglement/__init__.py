"""How well single dimensions of a representation capture single ground-truth factors of a dataset.

Every metric is a function of codes [n, D] and factors [n, F], the representation and ground truth of n images:

- `groups`: factor_vae, beta_vae;
- `mutual_information_gap`: mig, modularity;
- `predictors`: sap, dci, explicitness;
- `measure`: all of them on a dataset, and the representation of a model.
"""
