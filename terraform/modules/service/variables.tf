variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets of the tasks and the load balancer."
  type        = list(string)
}

variable "image_tag" {
  description = "The image to run, by its tag in the repository; \"\" to run none."
  type        = string
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64, as the image was built."
  type        = string
}

variable "cpu" {
  description = "CPU units of a task; 1024 make a vCPU."
  type        = number
}

variable "memory" {
  description = "MiB of a task."
  type        = number
}

variable "min_tasks" {
  description = "Tasks at least."
  type        = number
}

variable "max_tasks" {
  description = "Tasks at most."
  type        = number
}

variable "cpu_target" {
  description = "Per cent of CPU that autoscaling aims at."
  type        = number
}

variable "backlog_target" {
  description = "Recipients without a result, for each task, that autoscaling aims at; null for none."
  type        = number
}

variable "stop_timeout" {
  description = "Seconds between SIGTERM and SIGKILL."
  type        = number
}

variable "auth" {
  description = "AUTH of the service."
  type        = string
}

variable "task_tls" {
  description = "Whether the task's listener speaks TLS."
  type        = bool
}

variable "certificate_arn" {
  description = "The load balancer's certificate in ACM; null for TLS that passes through to the task, or none."
  type        = string
}

variable "vpc_endpoint_ids" {
  description = "VPC endpoints from which the service is called."
  type        = list(string)
}

variable "table_prefix" {
  description = "In front of the tables' names."
  type        = string
}

variable "table_statements" {
  description = "What the service does with the tables, as policy statements without a principal."
  type        = any # each statement's Resource is a string or a list
}

variable "encryption_key" {
  description = "ENCRYPTION_KEY of the service, written once. Never stored by Terraform."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "smtp_server" {
  description = "The default relay; \"\" for none."
  type        = string
}

variable "smtp_port" {
  description = "Of the default relay."
  type        = number
}

variable "smtp_username" {
  description = "At the default relay; \"\" for no login."
  type        = string
}

variable "smtp_password" {
  description = "At the default relay. Never stored by Terraform."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "smtp_password_version" {
  description = "Raised to write a new password."
  type        = number
}

variable "relay_cidrs" {
  description = "Networks to which mail may leave."
  type        = list(string)
}

variable "relay_ports" {
  description = "Ports to which mail may leave."
  type        = list(number)
}

variable "relays" {
  description = "RELAYS: which relays campaigns may name."
  type        = string
}

variable "relay_allow" {
  description = "RELAY_ALLOW: relays at addresses that are not public, and with listed all that may be named."
  type        = list(string)
}

variable "relay_ca_pem" {
  description = "RELAY_CA: certificates of further authorities for relays; \"\" for none."
  type        = string
}

variable "ses" {
  description = "Whether mail leaves by SES's SMTP endpoint."
  type        = bool
}

variable "smtp_security_group_id" {
  description = "The group of SES's endpoint; null outside of mode ses."
  type        = string
}

variable "endpoint_security_group_id" {
  description = "The group of the AWS endpoints that tasks use."
  type        = string
}

variable "metrics_client_cidrs" {
  description = "Networks of Prometheus servers."
  type        = list(string)
}

variable "settings" {
  description = "Further environment variables of the service."
  type        = map(string)
}

variable "extra_secrets" {
  description = "Further environment variables, by the ARNs of their secrets."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "The key of logs, secrets and images."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "recovery_window_in_days" {
  description = "Days in which a deleted secret can be had back; 0 for none."
  type        = number
}

variable "deletion_protection" {
  description = "Whether load balancer and images refuse to be deleted."
  type        = bool
}

variable "permissions_boundary_arn" {
  description = "A boundary for the roles; null for none."
  type        = string
}
