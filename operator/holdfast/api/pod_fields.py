"""The names of the fields of a pod that no rule of ours reads, as of Kubernetes 1.36.

They are named in the CRD so that CEL compares them (`holdfast.api.model.opaque` says why); their form is that of the
Pod API.
"""

from __future__ import annotations

from typing import Final

VARIABLE: Final = ("valueFrom",)
PORT: Final = ("hostIP", "hostPort", "protocol")
MOUNT: Final = ("mountPropagation", "readOnly", "recursiveReadOnly", "subPath", "subPathExpr")
SECURITY_CONTEXT: Final = (
    "allowPrivilegeEscalation",
    "appArmorProfile",
    "capabilities",
    "privileged",
    "procMount",
    "readOnlyRootFilesystem",
    "seLinuxOptions",
    "seccompProfile",
    "windowsOptions",
)
POD_SECURITY_CONTEXT: Final = (
    "appArmorProfile",
    "fsGroupChangePolicy",
    "seLinuxChangePolicy",
    "seLinuxOptions",
    "seccompProfile",
    "supplementalGroupsPolicy",
    "sysctls",
    "windowsOptions",
)
RESOURCES: Final = ("claims",)
CONTAINER: Final = (
    "envFrom",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "readinessProbe",
    "resizePolicy",
    "restartPolicyRules",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "workingDir",
)
VOLUME: Final = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "hostPath",
    "image",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "projected",
    "quobyte",
    "rbd",
    "scaleIO",
    "secret",
    "storageos",
    "vsphereVolume",
)
POD_SPEC: Final = (
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostPID",
    "hostUsers",
    "hostnameOverride",
    "imagePullSecrets",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "schedulingGroup",
    "serviceAccount",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "tolerations",
    "topologySpreadConstraints",
    "workloadRef",
)
