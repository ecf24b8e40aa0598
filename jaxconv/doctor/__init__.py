"""Which known wrong results this installation has, measured; `python -m jaxconv doctor`."""

from jaxconv.doctor._canaries import CANARIES as CANARIES
from jaxconv.doctor._canaries import Canary as Canary
from jaxconv.doctor._diagnose import Diagnosis as Diagnosis
from jaxconv.doctor._diagnose import Finding as Finding
from jaxconv.doctor._diagnose import diagnose as diagnose
from jaxconv.doctor._known import KNOWN as KNOWN
from jaxconv.doctor._report import as_json as as_json
from jaxconv.doctor._report import report as report
