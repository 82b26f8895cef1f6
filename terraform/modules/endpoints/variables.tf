variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "private_subnet_ids" {
  description = "Subnets in which interface endpoints have an address."
  type        = list(string)
}

variable "private_route_table_ids" {
  description = "Route tables that lead to the gateway endpoints."
  type        = list(string)
}

variable "task_security_group_id" {
  description = "The tasks' security group."
  type        = string
}

variable "task_role_arn" {
  description = "The service's own role, which uses the tables."
  type        = string
}

variable "execution_role_arn" {
  description = "The role that starts tasks: images, logs, secrets."
  type        = string
}

variable "table_statements" {
  description = "What the service does with the tables, as policy statements without a principal."
  type        = any # each statement's Resource is a string or a list
}

variable "repository_arn" {
  description = "The image's repository."
  type        = string
}

variable "task_log_group_arn" {
  description = "The tasks' log group."
  type        = string
}

variable "secret_arns" {
  description = "The tasks' secrets, as patterns."
  type        = list(string)
}

variable "task_secret_arns" {
  description = "Secrets that the service reads by itself, as patterns."
  type        = list(string)
}

variable "api_execution_arn" {
  description = "The API, as execute-api names it."
  type        = string
}

variable "api_private_dns" {
  description = "Whether the region's execute-api names lead to the endpoint."
  type        = bool
}

variable "api_client_cidrs" {
  description = "Networks that may call the API."
  type        = list(string)
}

variable "client" {
  description = "Whether there is a client instance."
  type        = bool
}

variable "client_security_group_id" {
  description = "The client's security group; null without a client."
  type        = string
}

variable "ses" {
  description = "Whether mail leaves by SES's SMTP endpoint."
  type        = bool
}

variable "relay_ports" {
  description = "Ports of SES's SMTP endpoint."
  type        = list(number)
}
