variable "name" {
  description = "Prefix of every name, and the metrics' namespace."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "service_log_group_name" {
  description = "The service's log."
  type        = string
}

variable "access_log_group_name" {
  description = "The API's access log."
  type        = string
}

variable "flow_log_group_name" {
  description = "The VPC's flow logs."
  type        = string
}

variable "relay_ports" {
  description = "Ports on which mail leaves."
  type        = list(number)
}

variable "load_balancer_suffix" {
  description = "The load balancer, as metrics name it."
  type        = string
}

variable "target_group_suffix" {
  description = "The target group, as metrics name it."
  type        = string
}

variable "cluster_name" {
  description = "The ECS cluster."
  type        = string
}

variable "service_name" {
  description = "The ECS service."
  type        = string
}

variable "min_tasks" {
  description = "Tasks that there have to be; 0 for none."
  type        = number
}

variable "api_name" {
  description = "The API, as metrics name it."
  type        = string
}

variable "stage_name" {
  description = "The API's stage."
  type        = string
}

variable "table_names" {
  description = "The tables' names, by the names without prefix."
  type        = map(string)
}

variable "table_indexes" {
  description = "The index of each table that has one."
  type        = map(string)
}

variable "alarm_emails" {
  description = "Who is told of alarms."
  type        = list(string)
}

variable "kms_key_arn" {
  description = "The topic's key."
  type        = string
}
