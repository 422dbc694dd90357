#!/usr/bin/env bash
# Tempest against this cloud, with the settings and selections of the yardsticks beside the checkout, which know nothing
# of this cloud but its API. `make conformance` starts it inside a sandbox.
#   run.sh YARDSTICKS ENVIRONMENT SELECTION...    lists by name, files of test names or regular expressions
# Everything that one host can do is switched on (--strict), so that what is missing fails and is not skipped. The last
# line is `N passed, N failed, N skipped`; results stay in ENVIRONMENT/out.
set -euo pipefail
yardsticks=$1 environment=$2
shift 2
folder=$MINICLOUD_SANDBOX_FOLDER/conformance
mkdir "$folder"
image=$(minicloud image build tiny --print-path)
python=$environment/tempest/bin/python
"$python" "$yardsticks/prepare_cloud.py" --clouds-yaml "$folder/clouds.yaml" --image-file "$image"
"$python" "$yardsticks/make_conf.py" --out "$folder/tempest.conf" --image-file "$image" --strict
YARDSTICK_ENV=$environment TEMPEST_CONF=$folder/tempest.conf OUT=$environment/out "$yardsticks/run_tempest.sh" "$@"
