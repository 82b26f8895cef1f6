variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "stage_name" {
  description = "The stage, the first part of every path."
  type        = string
}

variable "vpc_endpoint_ids" {
  description = "VPC endpoints through which the API may be called."
  type        = list(string)
}

variable "authorization" {
  description = "NONE or AWS_IAM."
  type        = string
}

variable "caller_arns" {
  description = "Principals that may call, with AWS_IAM; null for all that come through the endpoints."
  type        = list(string)
}

variable "load_balancer_arn" {
  description = "The load balancer behind the VPC link."
  type        = string
}

variable "load_balancer_dns_name" {
  description = "Its name."
  type        = string
}

variable "port" {
  description = "Its port."
  type        = number
}

variable "task_tls" {
  description = "Whether the task's listener speaks TLS."
  type        = bool
}

variable "certificate_domain" {
  description = "The name in the load balancer's certificate; null where it has none and the task's self-signed one is what API Gateway meets."
  type        = string
}

variable "throttling_rate" {
  description = "Requests a second."
  type        = number
}

variable "throttling_burst" {
  description = "Requests at once."
  type        = number
}

variable "manage_account" {
  description = "Whether to set the role by which API Gateway logs, one for the account and region."
  type        = bool
}

variable "kms_key_arn" {
  description = "The key of the log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "permissions_boundary_arn" {
  description = "A boundary for the role; null for none."
  type        = string
}
