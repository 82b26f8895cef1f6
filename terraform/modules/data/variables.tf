variable "table_prefix" {
  description = "In front of the tables' names."
  type        = string
}

variable "kms_key_arn" {
  description = "The tables' key."
  type        = string
}

variable "deletion_protection" {
  description = "Whether the tables refuse to be deleted."
  type        = bool
}
