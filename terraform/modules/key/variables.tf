variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "deletion_window_in_days" {
  description = "Days between the key's destruction in Terraform and its end. Data under it is lost with it."
  type        = number
}
