"""Pure step functions, a loop that only iterates, data and checkpoints."""

from jaxconv.train import checkpoint as checkpoint
from jaxconv.train import metrics as metrics
from jaxconv.train import run_folder as run_folder
from jaxconv.train.evaluate import evaluate as evaluate
from jaxconv.train.evaluate import make_eval_step as make_eval_step
from jaxconv.train.evaluate import make_predict as make_predict
from jaxconv.train.evaluate import predict_all as predict_all
from jaxconv.train.evaluate import probabilities_under_shifts as probabilities_under_shifts
from jaxconv.train.fit import Fit as Fit
from jaxconv.train.fit import fit as fit
from jaxconv.train.optimize import decays as decays
from jaxconv.train.optimize import warmup_cosine as warmup_cosine
from jaxconv.train.step import Batch as Batch
from jaxconv.train.step import TrainState as TrainState
from jaxconv.train.step import init_train_state as init_train_state
from jaxconv.train.step import make_train_step as make_train_step
