variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_id" {
  description = "The public subnet."
  type        = string
}

variable "instance_type" {
  description = "The instance's type."
  type        = string
}

variable "architecture" {
  description = "Of the image: x86_64 or arm64, as the instance's type has it."
  type        = string
}

variable "ami_id" {
  description = "The instance's image; null for the latest Amazon Linux 2023."
  type        = string
}

variable "key_name" {
  description = "A key pair for SSH; null for none."
  type        = string
}

variable "ssh_cidrs" {
  description = "Networks that may connect by SSH."
  type        = list(string)
}

variable "api_execution_arn" {
  description = "The API that it may call."
  type        = string
}

variable "kms_key_arn" {
  description = "The disk's key."
  type        = string
}

variable "permissions_boundary_arn" {
  description = "A boundary for the role; null for none."
  type        = string
}
